//! Generated code of difficult schemas, used as a user would.

use std::collections::HashMap;

use wawo::{
    Context, InProcess, Result, Streaming,
    well_known::{Any, Struct, Timestamp, Value},
};
use wawo_test_protos::{
    keywords, no_package,
    tests::{names, nothing, proto2, shapes},
};

/// Methods with names of Rust and of the generator, messages with names of the prelude.
struct Clash;

impl names::Chat for Clash {
    async fn r#type(&self, _cx: Context, request: names::Result) -> Result<names::Option> {
        Ok(names::Option {
            r#type: request.self_,
        })
    }

    async fn r#await(&self, _cx: Context, request: names::ChatClient) -> Result<names::ChatServer> {
        Ok(names::ChatServer {
            r#match: request.r#fn,
        })
    }

    async fn self_(&self, _cx: Context, request: names::Send) -> Result<names::Future> {
        Ok(names::Future { data: request.data })
    }

    async fn clone_(&self, _cx: Context, _: names::Request) -> Result<names::Response> {
        Ok(names::Response {})
    }

    async fn new_(&self, _cx: Context, _: names::Context) -> Result<names::Status> {
        Ok(names::Status {})
    }

    async fn call(
        &self,
        _cx: Context,
        request: names::Streaming,
    ) -> Result<Streaming<names::Streaming>> {
        Ok(Streaming::once(request))
    }

    async fn poll_ready(&self, _cx: Context, _: names::String) -> Result<names::Vec> {
        Ok(names::Vec {})
    }

    async fn layer(&self, _cx: Context, _: names::Box) -> Result<names::Arc> {
        Ok(names::Arc {})
    }

    async fn descriptor(
        &self,
        _cx: Context,
        _: Streaming<names::Method>,
    ) -> Result<names::Codegen> {
        Ok(names::Codegen {})
    }

    async fn method(
        &self,
        _cx: Context,
        _: Streaming<names::Some>,
    ) -> Result<Streaming<names::None>> {
        Ok(Streaming::empty())
    }

    async fn fmt(&self, _cx: Context, _: names::Ok) {}

    async fn service(&self, _cx: Context, request: Any) -> Result<Struct> {
        let value = Value::from(request.type_url);
        Ok(Struct {
            fields: [("type".to_owned(), value)].into(),
        })
    }

    async fn request(&self, _cx: Context, time: Timestamp) -> Result<String> {
        Ok(time.to_string())
    }

    async fn cx(&self, _cx: Context, request: names::Talk) -> Result<names::talk::Talk> {
        Ok(request.talk.map(|talk| *talk).unwrap_or_default())
    }

    async fn t(&self, _cx: Context, _: names::Service) -> Result<names::Codec> {
        Ok(names::Codec {})
    }

    async fn codec(&self, _cx: Context, tree: shapes::Tree) -> Result<shapes::tree::Leaf> {
        let leaf = tree.leaves.get("first").cloned();
        Ok(leaf.unwrap_or_default())
    }

    async fn _1(&self, _cx: Context, request: names::_2) -> Result<names::_2> {
        Ok(request)
    }

    async fn shape(&self, _cx: Context, request: names::_2) -> Result<names::_2> {
        Ok(request)
    }
}

impl names::t_service::T for Clash {
    async fn t(&self, _cx: Context, request: names::Ok) -> Result<names::Ok> {
        Ok(request)
    }
}

impl names::_3_service::_3 for Clash {
    async fn _3(&self, _cx: Context, request: names::Ok) -> Result<names::Ok> {
        Ok(request)
    }
}

/// `chat_service` is the module of the items nested in the message `ChatService`.
fn chat() -> names::chat_service_::ChatClient {
    let server = names::chat_service_::ChatServer::new(Clash);
    names::chat_service_::ChatClient::new(&InProcess::new(server))
}

#[tokio::test]
async fn names_that_clash_are_told_apart() {
    let chat = chat();
    let asked = names::Result {
        self_: "me".to_owned(),
    };
    assert_eq!(chat.r#type(asked).await.unwrap().r#type, "me");
    let reply = chat.r#await(names::ChatClient { r#fn: 5 }).await.unwrap();
    assert_eq!(reply.r#match, 5);
    let item = names::Streaming { item: 3 };
    let mut items = chat.call(item).await.unwrap();
    assert_eq!(items.message().await.unwrap(), Some(item));
    chat.new_(names::Context {}).await.unwrap();
    chat.clone_(names::Request {}).await.unwrap();
    chat.fmt(names::Ok {}).await.unwrap();
    assert_eq!(names::chat_service_::method::AWAIT.name(), "Await");
}

#[tokio::test]
async fn a_service_may_be_called_like_the_parameter_of_its_server() {
    let server = names::t_service::TServer::new(Clash);
    let client = names::t_service::TClient::new(&InProcess::new(server));
    client.t(names::Ok {}).await.unwrap();
}

#[tokio::test]
async fn names_may_begin_with_a_digit_after_underscores() {
    let message = names::_2 { _4: 7 };
    assert_eq!(chat()._1(message).await.unwrap(), message);
    assert_eq!(names::chat_service_::method::_1.name(), "_1");
    let server = names::_3_service::_3Server::new(Clash);
    let client = names::_3_service::_3Client::new(&InProcess::new(server));
    client._3(names::Ok {}).await.unwrap();
}

#[tokio::test]
async fn well_known_types_are_those_of_prost() {
    let chat = chat();
    let any = Any {
        type_url: "type/a".to_owned(),
        value: Vec::new(),
    };
    let fields = chat.service(any).await.unwrap().fields;
    assert_eq!(fields["type"], Value::from("type/a"));
    let begin = Timestamp::default();
    assert_eq!(chat.request(begin).await.unwrap(), "1970-01-01T00:00:00Z");
}

#[tokio::test]
async fn messages_of_every_shape_arrive_as_they_were() {
    let leaf = shapes::tree::Leaf {
        colour: shapes::tree::leaf::Colour::Red.into(),
        grown: Some(shapes::Tree::default()),
    };
    let tree = shapes::Tree {
        branches: vec![shapes::Tree::default(); 2],
        leaves: HashMap::from([("first".to_owned(), leaf.clone())]),
        kind: shapes::Kind::Oak.into(),
        owner: Some(shapes::tree::Owner::Tree(Box::default())),
        old: Some(false),
    };
    assert_eq!(chat().codec(tree).await.unwrap(), leaf);
}

struct Shelf;

impl proto2::Archive for Shelf {
    async fn find(&self, _cx: Context, request: proto2::Old) -> Result<proto2::Old> {
        assert_eq!(request.count(), 7, "the default of the schema");
        Ok(request)
    }
}

#[tokio::test]
async fn proto2_keeps_its_defaults() {
    let archive = proto2::ArchiveClient::new(&InProcess::new(proto2::ArchiveServer::new(Shelf)));
    let old = proto2::Old {
        name: "a".to_owned(),
        count: None,
        numbers: vec![1, 2],
    };
    assert_eq!(archive.find(old.clone()).await.unwrap(), old);
}

#[test]
fn every_package_has_its_descriptors() {
    use prost::Message;
    let set = prost_types::FileDescriptorSet::decode(names::FILE_DESCRIPTOR_SET).unwrap();
    let files: Vec<_> = set
        .file
        .iter()
        .map(prost_types::FileDescriptorProto::name)
        .collect();
    assert!(files.contains(&"tests/names.proto") && files.contains(&"tests/shapes.proto"));
    assert!(
        files.iter().position(|file| *file == "tests/shapes.proto")
            < files.iter().position(|file| *file == "tests/names.proto")
    );
    assert!(!nothing::FILE_DESCRIPTOR_SET.is_empty());
}

#[test]
fn packages_are_included_by_their_names_in_the_schema() {
    assert_eq!(
        keywords::self_service::SERVICE.name(),
        "type.Match.self.self"
    );
    assert_eq!(no_package::idle_service::SERVICE.name(), "Idle");
}
