//! Generates Rust for services: per service a module with a trait, a server, a client and a table.

mod client;
mod descriptor;
mod server;

use std::collections::BTreeMap;

use crate::{
    layouts::{self, Layouts},
    names,
    schema::{Method, Service, Shape},
    source::Source,
};

/// Selects whether servers, clients or both are generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Both,
    Client,
    Server,
}

/// The service generator that prost-build calls for each service.
pub(crate) struct Generator {
    services: BTreeMap<String, Service>,
    /// The module of each service.
    modules: BTreeMap<String, String>,
    layouts: Layouts,
    half: Half,
    crate_path: String,
}

impl Generator {
    pub(crate) fn new(
        source: &Source,
        services: BTreeMap<String, Service>,
        layouts: Layouts,
        half: Half,
        crate_path: String,
    ) -> Self {
        let module = |full_name: &String| {
            let (package, name) = full_name.rsplit_once('.').unwrap_or(("", full_name));
            let module = names::service_module(&source.pool, package, name);
            (full_name.clone(), module)
        };
        Self {
            modules: services.keys().map(module).collect(),
            services,
            layouts,
            half,
            crate_path,
        }
    }
}

impl prost_build::ServiceGenerator for Generator {
    fn generate(&mut self, service: prost_build::Service, out: &mut String) {
        if service.proto_name == layouts::NAME {
            *out += &self.layouts.module(&service, &self.crate_path);
            return;
        }
        let full_name = match service.package.as_str() {
            "" => service.proto_name.clone(),
            package => format!("{package}.{}", service.proto_name),
        };
        let schema = &self.services[&full_name];
        let view = View {
            schema,
            name: &service.name,
            prost: &service,
            methods: service
                .methods
                .iter()
                .map(|method| MethodView::new(schema, &service.package, method, &self.layouts))
                .collect(),
        };
        let serve = self.half != Half::Client;
        let call = self.half != Half::Server;
        let parts = [
            if serve {
                server::service_trait(&view)
            } else {
                String::new()
            },
            descriptor::statics(&view),
            if serve {
                server::server(&view)
            } else {
                String::new()
            },
            if call {
                client::client(&view)
            } else {
                String::new()
            },
        ];
        let module = &self.modules[&full_name];
        let parts = parts.concat();
        let crate_path = names::from_inner_module(&self.crate_path);
        *out += &format!(
            "#[allow(unused_imports, ambiguous_glob_reexports)]\n\
             pub use {module}::*;\n\
             /// The service `{full_name}`: a trait to implement, a server and a client.\n\
             #[allow(dead_code, non_camel_case_types, unused_variables, clippy::all, clippy::pedantic)]\n\
             pub mod {module} {{\n\
             use {crate_path}::codegen;\n\
             const CODEC: codegen::Prost = codegen::Prost;\n\
             {parts}\
             }}\n"
        );
    }
}

/// A service that is being generated: its schema and prost's names for it.
pub(crate) struct View<'a> {
    schema: &'a Service,
    name: &'a str,
    prost: &'a prost_build::Service,
    methods: Vec<MethodView<'a>>,
}

/// A method that is being generated.
pub(crate) struct MethodView<'a> {
    schema: &'a Method,
    prost: &'a prost_build::Method,
    /// The name on the trait and on the stub.
    name: String,
    /// The name of the static that describes the method.
    statik: String,
    request: String,
    reply: String,
    /// The names of the statics that describe the memory of request and reply.
    request_layout: Option<String>,
    reply_layout: Option<String>,
}

impl<'a> MethodView<'a> {
    fn new(
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
    fn docs(&self) -> String {
        docs(&self.prost.comments)
    }

    /// The parameter of a handler: one message, or a stream of them.
    fn handler_parameter(&self) -> String {
        match self.streams_requests() {
            false => format!("request: {}", self.request),
            true => format!("requests: codegen::Streaming<{}>", self.request),
        }
    }

    /// The output of a handler's future.
    fn handler_output(&self) -> String {
        match self.schema.shape {
            Shape::OneWay => "()".to_owned(),
            _ => format!("codegen::Result<{}>", self.call_output()),
        }
    }

    /// The output of a successful call.
    fn call_output(&self) -> String {
        match self.schema.shape {
            Shape::OneWay => "()".to_owned(),
            Shape::ServerStreaming | Shape::BidiStreaming => {
                format!("codegen::Streaming<{}>", self.reply)
            }
            Shape::Unary | Shape::ClientStreaming => self.reply.clone(),
        }
    }

    fn streams_requests(&self) -> bool {
        matches!(
            self.schema.shape,
            Shape::ClientStreaming | Shape::BidiStreaming
        )
    }
}

fn docs(comments: &prost_build::Comments) -> String {
    let mut docs = String::new();
    let comments = prost_build::Comments {
        // A detached comment is not about the item.
        leading_detached: Vec::new(),
        ..comments.clone()
    };
    comments.append_with_indent(0, &mut docs);
    docs
}
