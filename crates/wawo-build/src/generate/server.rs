//! Generates the trait to implement, and the tower service around it.

use wawo_protocol::Shape;

use crate::{
    generate::view::{View, docs},
    ids, names,
};

pub(crate) fn service_trait(service: &View<'_>) -> String {
    let View { name, schema, .. } = service;
    let full_name = &schema.full_name;
    let docs = match docs(&service.prost.comments) {
        docs if docs.is_empty() => format!("/// The methods of a server of `{full_name}`.\n"),
        docs => docs,
    };
    let mut methods = String::new();
    for method in &service.methods {
        let (docs, name) = (method.docs(), &method.name);
        let (parameter, output) = (method.handler_parameter(), method.handler_output());
        methods += &format!(
            "{docs}\
             fn {name}(&self, cx: codegen::Context, {parameter}) \
             -> impl codegen::Future<Output = {output}> + codegen::Send;\n"
        );
    }
    format!(
        "{docs}\
         #[diagnostic::on_unimplemented(message = \"`{{Self}}` does not implement the service `{full_name}`\")]\n\
         pub trait {name}: codegen::Send + codegen::Sync + 'static {{\n\
         {methods}\
         }}\n"
    )
}

pub(crate) fn server(service: &View<'_>) -> String {
    let name = service.name;
    let parameter = names::parameter(name);
    let mut arms = String::new();
    for method in &service.methods {
        let (statik, name) = (&method.statik, &method.name);
        let id = ids::literal(method.schema.id);
        let adapter = match method.schema.shape {
            Shape::Unary => "unary",
            Shape::ServerStreaming => "server_streaming",
            Shape::ClientStreaming => "client_streaming",
            Shape::BidiStreaming => "bidi_streaming",
            Shape::OneWay => "one_way",
        };
        arms += &format!(
            "{id} => codegen::{adapter}(&method::{statik}, CODEC, request, |cx, message| async move {{ {parameter}::{name}(&service, cx, message).await }}),\n"
        );
    }
    format!(
        "/// Serves a [`{name}`]. Clones share it.\n\
         pub struct {name}Server<{parameter}>(codegen::Arc<{parameter}>);\n\
         impl<{parameter}: {name}> {name}Server<{parameter}> {{\n\
         /// Serves this implementation.\n\
         pub fn new(service: {parameter}) -> Self {{ Self(codegen::Arc::new(service)) }}\n\
         /// Serves an implementation that is shared.\n\
         pub fn from_arc(service: codegen::Arc<{parameter}>) -> Self {{ Self(service) }}\n\
         /// Adds a tower layer around all methods.\n\
         pub fn layer<L: codegen::Layer<codegen::PanicGuard<Self>>>(self, layer: L) -> codegen::Layered<Self, L::Service> {{ codegen::Layered::new(self, layer, None) }}\n\
         /// Adds a tower layer around one method of the module [`method`].\n\
         ///\n\
         /// # Panics\n\
         ///\n\
         /// If the method belongs to another service, because the layer would never be called.\n\
         #[track_caller]\n\
         pub fn layer_method<L: codegen::Layer<codegen::PanicGuard<Self>>>(self, method: &codegen::MethodDescriptor, layer: L) -> codegen::Layered<Self, L::Service> {{ codegen::Layered::new(self, layer, Some(method)) }}\n\
         }}\n\
         impl<{parameter}> codegen::Clone for {name}Server<{parameter}> {{\n\
         fn clone(&self) -> Self {{ Self(codegen::Clone::clone(&self.0)) }}\n\
         }}\n\
         impl<{parameter}> codegen::Debug for {name}Server<{parameter}> {{\n\
         fn fmt(&self, f: &mut codegen::fmt::Formatter<'_>) -> codegen::fmt::Result {{ f.write_str(\"{name}Server\") }}\n\
         }}\n\
         impl<{parameter}: {name}> codegen::Serve for {name}Server<{parameter}> {{\n\
         fn descriptor(&self) -> &codegen::ServiceDescriptor {{ &SERVICE }}\n\
         }}\n\
         impl<{parameter}: {name}> codegen::Service<codegen::Request> for {name}Server<{parameter}> {{\n\
         type Response = codegen::Response;\n\
         type Error = codegen::Status;\n\
         type Future = codegen::ResponseFuture;\n\
         fn poll_ready(&mut self, _: &mut codegen::task::Context<'_>) -> codegen::task::Poll<codegen::Result<()>> {{ codegen::task::Poll::Ready(Ok(())) }}\n\
         fn call(&mut self, request: codegen::Request) -> codegen::ResponseFuture {{\n\
         let service = codegen::Clone::clone(&self.0);\n\
         match request.method().0 {{\n\
         {arms}\
         _ => codegen::unimplemented(&SERVICE, request),\n\
         }}\n\
         }}\n\
         }}\n"
    )
}
