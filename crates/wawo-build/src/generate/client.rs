//! Generates the stub.

use wawo_protocol::Shape;

use crate::generate::view::{MethodView, View};

pub(crate) fn client(service: &View<'_>) -> String {
    let name = service.name;
    let methods: String = service.methods.iter().map(method).collect();
    let full_name = &service.schema.full_name;
    format!(
        "/// Calls a `{full_name}` over a peer, a channel, or in the same process. Clones are cheap.\n\
         pub struct {name}Client<A = codegen::TwoWay>(codegen::Arc<dyn codegen::Start>, codegen::PhantomData<fn() -> A>);\n\
         impl<A> codegen::Clone for {name}Client<A> {{\n\
         fn clone(&self) -> Self {{ Self(codegen::Clone::clone(&self.0), codegen::PhantomData) }}\n\
         }}\n\
         impl<A> codegen::Debug for {name}Client<A> {{\n\
         fn fmt(&self, f: &mut codegen::fmt::Formatter<'_>) -> codegen::fmt::Result {{ f.write_str(\"{name}Client\") }}\n\
         }}\n\
         impl<A> {name}Client<A> {{\n\
         /// Creates a stub that sends its calls through `over`.\n\
         pub fn new(over: &impl codegen::CallTarget<Ability = A>) -> Self {{ Self(codegen::start(over, &SERVICE), codegen::PhantomData) }}\n\
         {methods}\
         }}\n"
    )
}

fn method(method: &MethodView<'_>) -> String {
    let (docs, name, statik) = (method.docs(), &method.name, &method.statik);
    let output = method.call_output();
    let (parameter, argument) = match method.streams_requests() {
        false => (format!("request: {}", method.request), "request"),
        true => {
            let item = &method.request;
            let stream = format!("codegen::Stream<Item: codegen::StreamItem<{item}>>");
            (
                format!("requests: impl {stream} + codegen::Send + 'static"),
                "requests",
            )
        }
    };
    let (function, bound) = match method.schema.shape {
        Shape::OneWay => ("send", ""),
        Shape::Unary => ("call", WITH_REPLY),
        Shape::ServerStreaming => ("call_server_streaming", WITH_REPLY),
        Shape::ClientStreaming => ("call_client_streaming", WITH_REPLY),
        Shape::BidiStreaming => ("call_bidi_streaming", WITH_REPLY),
    };
    format!(
        "{docs}\
         pub fn {name}(&self, {parameter}) -> codegen::Call<{output}>{bound} {{ codegen::{function}(&self.0, &method::{statik}, CODEC, {argument}) }}\n"
    )
}

/// A bound on each method that has a reply. It stands on the method, so that a compiler error names
/// the method.
const WITH_REPLY: &str = " where A: codegen::ReplyAbility";
