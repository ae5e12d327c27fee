//! A service and its methods as the generator sees them, with prost's names and ours.

use wawo_protocol::Shape;

use crate::{
    layouts::Layouts,
    names,
    schema::{Method, Service},
};

/// A service that is being generated: its schema and prost's names for it.
pub(super) struct View<'a> {
    pub(super) schema: &'a Service,
    pub(super) name: &'a str,
    pub(super) prost: &'a prost_build::Service,
    pub(super) methods: Vec<MethodView<'a>>,
}

/// A method that is being generated.
pub(super) struct MethodView<'a> {
    pub(super) schema: &'a Method,
    pub(super) prost: &'a prost_build::Method,
    /// The name on the trait and on the stub.
    pub(super) name: String,
    /// The name of the static that describes the method.
    pub(super) statik: String,
    pub(super) request: String,
    pub(super) reply: String,
    /// The names of the statics that describe the memory of request and reply.
    pub(super) request_layout: Option<String>,
    pub(super) reply_layout: Option<String>,
}

impl<'a> MethodView<'a> {
    pub(super) fn new(
        service: &'a Service,
        package: &str,
        prost: &'a prost_build::Method,
        layouts: &Layouts,
    ) -> Self {
        Self {
            request_layout: layouts.of(package, &prost.input_proto_type),
            reply_layout: layouts.of(package, &prost.output_proto_type),
            schema: &service.methods[&prost.proto_name],
            prost,
            name: names::method(&prost.name),
            statik: names::method_static(&prost.name),
            request: names::from_inner_module(&prost.input_type),
            reply: names::from_inner_module(&prost.output_type),
        }
    }

    /// The comments of the schema, as Rust docs.
    pub(super) fn docs(&self) -> String {
        docs(&self.prost.comments)
    }

    /// The parameter of a handler: one message, or a stream of them.
    pub(super) fn handler_parameter(&self) -> String {
        match self.streams_requests() {
            false => format!("request: {}", self.request),
            true => format!("requests: codegen::Streaming<{}>", self.request),
        }
    }

    /// The output of a handler's future.
    pub(super) fn handler_output(&self) -> String {
        match self.schema.shape {
            Shape::OneWay => "()".to_owned(),
            _ => format!("codegen::Result<{}>", self.call_output()),
        }
    }

    /// The output of a successful call.
    pub(super) fn call_output(&self) -> String {
        match self.schema.shape {
            Shape::OneWay => "()".to_owned(),
            Shape::ServerStreaming | Shape::BidiStreaming => {
                format!("codegen::Streaming<{}>", self.reply)
            }
            Shape::Unary | Shape::ClientStreaming => self.reply.clone(),
        }
    }

    pub(super) fn streams_requests(&self) -> bool {
        self.schema.shape.streams_requests()
    }
}

/// The comments of the schema, as Rust docs.
pub(super) fn docs(comments: &prost_build::Comments) -> String {
    let mut docs = String::new();
    let comments = prost_build::Comments {
        // A detached comment is not about the item.
        leading_detached: Vec::new(),
        ..comments.clone()
    };
    comments.append_with_indent(0, &mut docs);
    docs
}
