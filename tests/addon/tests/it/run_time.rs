//! Services that exist only at run time: described by hand, or read from a set of files.

use bytes::Bytes;
use wawo::{
    Body, CallTarget, Code, Config, Context, MethodDescriptor, RawClient, RawService, Result,
    ServiceDescriptor, Shape, Streaming, TwoWay,
};

use crate::support::{EchoClient, Host, echo, echo_service, host, repeat, text};

/// A service of a script, described by hand. Its messages need not be those of protobuf.
fn scripted() -> ServiceDescriptor {
    let upper = MethodDescriptor::builder("Upper", Shape::Unary);
    let letters = MethodDescriptor::builder("Letters", Shape::ServerStreaming);
    let script = ServiceDescriptor::builder("scripts.Text");
    script.method(upper).method(letters).build().unwrap()
}

async fn run_script(cx: Context, request: Body) -> Result<Body> {
    let Body::One(message) = request else {
        panic!("no method of it takes a stream");
    };
    let message = message.into_bytes();
    match cx.method().name() {
        "Upper" => Ok(Body::One(Bytes::from(message.to_ascii_uppercase()).into())),
        _ => {
            let letters: Vec<_> = message
                .iter()
                .map(|letter| Ok(Bytes::from(vec![*letter])))
                .collect();
            Ok(Body::Many(Streaming::new(futures::stream::iter(letters))))
        }
    }
}

/// A server that gets the script while it runs.
fn scripting() -> Host {
    let host = host(Config::default());
    let service = RawService::new(scripted(), run_script);
    host.handle.add_service(service).unwrap();
    host
}

async fn check_script(over: &impl CallTarget<Ability = TwoWay>) {
    let (client, script) = (RawClient::new(over), scripted());
    let method = |name| script.method_by_name(name).unwrap();
    let upper = client.call(method("Upper"), "hi").await.unwrap();
    assert_eq!(upper, "HI");
    let letters = client.call_server_streaming(method("Letters"), "hi").await;
    let mut letters = letters.unwrap();
    assert_eq!(letters.message().await.unwrap().unwrap(), "h");
    assert_eq!(letters.message().await.unwrap().unwrap(), "i");
    assert_eq!(letters.message().await.unwrap(), None);
}

#[tokio::test]
async fn a_service_described_by_hand_is_called_natively_and_by_lines() {
    let host = scripting();
    check_script(&host.native().await).await;
    let lines = host.lines("ada");
    check_script(&lines).await;
    assert!(host.handle.remove_service("scripts.Text"));
    let client = RawClient::new(&lines);
    let upper = client.call(scripted().method_by_name("Upper").unwrap(), "hi");
    assert_eq!(upper.await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_service_read_from_a_set_of_files_serves_the_stubs_of_its_schema() {
    let services = ServiceDescriptor::all_in(echo::FILE_DESCRIPTOR_SET).unwrap();
    let described = services
        .into_iter()
        .find(|service| service.name() == "addon.Echo");
    let described = described.unwrap();
    assert_eq!(described.fingerprint(), echo_service::SERVICE.fingerprint());
    let parroting = RawService::new(described.clone(), |cx: Context, request| async move {
        match cx.method().name() {
            // The reply has the first field of the request, and not its second.
            "Repeat" => Ok(Body::One(Bytes::from_static(b"\n\x01x").into())),
            _ => Ok(request),
        }
    });
    let server = wawo::Server::builder().add_service(parroting);
    let server = server.protocol(wawo_addon_test::LineProtocol::default());
    let host = Host::of(server.build().unwrap(), Default::default());
    let (native, lines) = (host.native().await, host.lines("ada"));
    for echo in [EchoClient::new(&native), EchoClient::new(&lines)] {
        assert_eq!(echo.say(text("hi")).await.unwrap().text, "hi");
        let mut replies = echo.repeat(repeat("x", 9)).await.unwrap();
        assert_eq!(replies.message().await.unwrap(), Some(text("x")));
        assert_eq!(replies.message().await.unwrap(), None);
    }
    let say = described.method_by_name("Say").unwrap();
    for client in [RawClient::new(&native), RawClient::new(&lines)] {
        assert_eq!(client.call(say, "\n\u{2}hi").await.unwrap(), "\n\u{2}hi");
    }
}
