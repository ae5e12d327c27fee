//! Generates Rust for services: per service a module with a trait, a server, a client and a table.

mod client;
mod descriptor;
mod server;
mod view;

use std::collections::BTreeMap;

use crate::{
    generate::view::{MethodView, View},
    layouts::{self, Layouts},
    names::{self, ModulesOfProst},
    schema::Service,
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
        let of_prost = ModulesOfProst::new(&source.pool);
        let module = |full_name: &String| {
            let (package, name) = full_name.rsplit_once('.').unwrap_or(("", full_name));
            (full_name.clone(), of_prost.service_module(package, name))
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
        // A program may use none of these names. Two services share names such as `SERVICE`, which are
        // then found in the module of each.
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
