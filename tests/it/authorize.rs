//! Calls are authorised by method and identity, and by the identity of each call where one connection carries
//! many callers.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use prost::Message as _;
use tokio::sync::Barrier;
use wawo::{
    Body, Code, Context, Gateway, Guest, Identity, InProcess, MethodDescriptor, Request, Result,
    Server, Status, Streaming,
    layer::{self, Authorize, Permissions},
};

use crate::support::{
    Echo, EchoClient, EchoServer, Message, Parrot, RepeatRequest,
    echo_service::{SERVICE, method},
    message,
};

/// The identity of a caller.
struct User {
    name: String,
    is_admin: bool,
}

fn user(name: &str) -> Identity {
    Identity::new(User {
        name: name.to_owned(),
        is_admin: name == "admin",
    })
}

/// Replies with the name in the identity of the caller, once `together` callers are here.
#[derive(Clone)]
struct WhoAmI {
    together: Arc<Barrier>,
}

impl WhoAmI {
    fn new(together: usize) -> Self {
        let together = Arc::new(Barrier::new(together));
        Self { together }
    }
}

fn name_of(cx: &Context) -> String {
    let user = cx.identity::<User>();
    user.map_or("nobody", |user| &user.name).to_owned()
}

impl Echo for WhoAmI {
    async fn say(&self, cx: Context, _: Message) -> Result<Message> {
        self.together.wait().await;
        Ok(message(name_of(&cx)))
    }

    async fn act(&self, cx: Context, _: Message) -> Result<Message> {
        Ok(message(name_of(&cx)))
    }

    async fn note(&self, _: Context, _: Message) {}

    async fn repeat(&self, _: Context, _: RepeatRequest) -> Result<Streaming<Message>> {
        Ok(Streaming::empty())
    }

    async fn join(&self, _: Context, _: Streaming<Message>) -> Result<Message> {
        Ok(message(""))
    }

    async fn talk(&self, _: Context, requests: Streaming<Message>) -> Result<Streaming<Message>> {
        Ok(requests)
    }
}

fn gateway<U: Send + Sync + 'static>(rule: impl Authorize<U>) -> (Server, Gateway) {
    let server = Server::builder().add_service(EchoServer::new(WhoAmI::new(1)));
    let server = server.layer(layer::authorize(rule)).build().unwrap();
    let gateway = server.handle().gateway("pigeons");
    (server, gateway)
}

fn request(method: &MethodDescriptor) -> Request {
    let bytes = Bytes::from(message("hi").encode_to_vec());
    Request::new(method, Body::One(bytes.into()))
}

async fn code(guest: &Guest, request: Request) -> Code {
    let result = guest.call(request).await;
    result.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// The users may say, the administrator may act too, all may repeat, and nobody may join.
fn permissions() -> Permissions<User> {
    Permissions::new()
        .allow(&method::SAY, |_| true)
        .allow(&method::ACT, |user: &User| user.is_admin)
        .allow_anyone(&method::REPEAT)
}

/// The outcome for nobody, somebody of another type, a user, and an administrator.
const MATRIX: [(&MethodDescriptor, [Code; 4]); 4] = {
    use Code::{Ok, PermissionDenied as No, Unauthenticated as Who};
    [
        (&method::SAY, [Who, Who, Ok, Ok]),
        (&method::ACT, [Who, Who, No, Ok]),
        (&method::REPEAT, [Ok, Ok, Ok, Ok]),
        (&method::JOIN, [Who, Who, No, No]),
    ]
};

fn identities() -> [Option<Identity>; 4] {
    let other_type = Identity::new("admin");
    [
        None,
        Some(other_type),
        Some(user("ada")),
        Some(user("admin")),
    ]
}

#[tokio::test]
async fn a_call_goes_through_only_if_its_identity_may_call_the_method() {
    let (_server, gateway) = gateway(permissions());
    for (method, codes) in MATRIX {
        for (identity, expected) in identities().into_iter().zip(codes) {
            let guest = gateway.guest().identity(identity.clone()).build().unwrap();
            let found = code(&guest, request(method)).await;
            assert_eq!(
                found,
                expected,
                "{} by the guest's {identity:?}",
                method.path()
            );
            // The identity of a call comes before that of its guest, for better and for worse.
            for of_guest in identities() {
                let Some(identity) = identity.clone() else {
                    continue;
                };
                let guest = gateway.guest().identity(of_guest).build().unwrap();
                let mut request = request(method);
                request.set_identity(identity);
                assert_eq!(code(&guest, request).await, expected, "{}", method.path());
            }
        }
    }
}

#[tokio::test]
async fn methods_that_are_not_known_here_are_for_nobody() {
    let (_server, gateway) = gateway(|_: &User, _: &MethodDescriptor| true);
    let unknown = || {
        let body = Body::One(Bytes::new().into());
        Request::by_id(wawo::ServiceId(9), wawo::MethodId(1), false, body)
    };
    let guest = gateway.guest().build().unwrap();
    assert_eq!(code(&guest, unknown()).await, Code::Unauthenticated);
    let guest = gateway.guest().identity(user("admin")).build().unwrap();
    assert_eq!(code(&guest, unknown()).await, Code::PermissionDenied);
    assert_eq!(code(&guest, request(&method::JOIN)).await, Code::Ok);
}

#[tokio::test]
async fn a_rule_of_a_service_is_for_its_methods_without_a_rule() {
    let permissions = Permissions::new()
        .allow_service(&SERVICE, |user: &User| user.is_admin)
        .allow(&method::SAY, |_| true);
    let (_server, gateway) = gateway(permissions);
    for (name, codes) in [
        ("ada", [Code::Ok, Code::PermissionDenied]),
        ("admin", [Code::Ok, Code::Ok]),
    ] {
        let guest = gateway.guest().identity(user(name)).build().unwrap();
        for (method, expected) in [&method::SAY, &method::ACT].into_iter().zip(codes) {
            assert_eq!(code(&guest, request(method)).await, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn a_refusal_names_the_method_and_the_handler_has_not_run() {
    let parrot = Parrot::default();
    let deny = |_: &User, _: &MethodDescriptor| false;
    let server = EchoServer::new(parrot.clone()).layer(layer::authorize(deny));
    let server = InProcess::new(server);
    let nobody = EchoClient::new(&server);
    let status = nobody.act(message("hi")).await.unwrap_err();
    let text = "the caller has no identity, and the method is not for anyone";
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unauthenticated, text)
    );
    let ada = EchoClient::new(&server.with_identity(user("ada")));
    let status = ada.act(message("hi")).await.unwrap_err();
    let text = "the caller may not call tests.echo.Echo/Act";
    assert_eq!(
        (status.code(), status.message()),
        (Code::PermissionDenied, text)
    );
    ada.note(message("hi")).await.unwrap();
    let counts = [&parrot.0.begun, &parrot.0.notes];
    let counts = counts.map(|count| count.load(std::sync::atomic::Ordering::SeqCst));
    assert_eq!(counts, [0, 0]);
}

#[tokio::test]
async fn calls_of_one_guest_that_run_together_each_have_their_own_identity() {
    const CALLERS: usize = 100;
    let server = Server::builder().add_service(EchoServer::new(WhoAmI::new(CALLERS)));
    let server = server.build().unwrap();
    let gateway = server.handle().gateway("pigeons");
    let guest = gateway.guest().identity(user("guest")).build().unwrap();
    let calls = (0..CALLERS).map(|caller| {
        let mut request = request(&method::SAY);
        if caller > 0 {
            request.set_identity(user(&caller.to_string()));
        }
        let call = guest.call(request);
        async move {
            let (_, Body::One(bytes)) = call.await?.into_parts() else {
                panic!("a stream");
            };
            let reply = Message::decode(bytes.into_bytes()).unwrap();
            Ok::<_, Status>(String::from_utf8(reply.data.to_vec()).unwrap())
        }
    });
    for (caller, name) in join_all(calls).await.into_iter().enumerate() {
        let expected = match caller {
            0 => "guest".to_owned(),
            _ => caller.to_string(),
        };
        assert_eq!(name.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_layer_may_give_each_call_an_identity_of_its_own() {
    let by_token = layer::intercept(async |mut request: Request, next: layer::Next| {
        let token = request.metadata().text("token").map(user);
        if let Some(user) = token {
            request.set_identity(user);
        }
        next.call(request).await
    });
    let server = EchoServer::new(WhoAmI::new(1)).layer(by_token);
    let echo = EchoClient::new(&InProcess::new(server));
    let name = echo
        .act(message(""))
        .metadata("token", "ada")
        .await
        .unwrap();
    assert_eq!(name.data, "ada");
    assert_eq!(echo.act(message("")).await.unwrap().data, "nobody");
}
