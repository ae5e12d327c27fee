//! TLS on both sides: the client's certificate says who calls, a layer says who may call what, and the
//! server gets a new certificate while it serves. Callers that prove nothing get a clear error.
//!
//! `cargo run --example tls`

use std::{
    error::Error,
    sync::atomic::{AtomicI64, Ordering},
};

use bytes::Bytes;
use wawo::{
    Code, Context, Peer, Presented, Refusal, Result, Server,
    layer::{Permissions, authorize},
    tls::{CertificateNames, ClientTls, ServerTls},
};

use crate::{
    accounts::{
        Account, AccountClient, AccountServer, Amount, BalanceRequest, account_service::method,
    },
    files::Files,
};

mod files;

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod accounts {
    wawo::include_proto!("accounts");
}

/// The caller, by the name in his certificate.
struct Caller(String);

/// Reads the caller's name from the certificate, which TLS has verified by then.
async fn caller_of(presented: Presented) -> Result<Caller, Refusal> {
    let leaf = presented.certificates().first();
    let names = leaf
        .and_then(|leaf| CertificateNames::of(leaf))
        .unwrap_or_default();
    let mut names = names.uris().iter();
    let name = names.find_map(|uri| uri.strip_prefix("spiffe://example.org/"));
    let name = name.ok_or_else(|| Refusal::new("the certificate has no name of example.org"))?;
    Ok(Caller(name.to_owned()))
}

/// Everybody with a certificate may read, only billing may pay. A method that is not named is for nobody.
fn permissions() -> Permissions<Caller> {
    Permissions::new()
        .allow(&method::BALANCE, |_: &Caller| true)
        .allow(&method::PAY, |caller: &Caller| caller.0 == "billing")
}

#[derive(Default)]
struct Book(AtomicI64);

impl Account for Book {
    async fn balance(&self, _cx: Context, _: BalanceRequest) -> Result<Amount> {
        let cents = self.0.load(Ordering::SeqCst);
        Ok(Amount { cents })
    }

    async fn pay(&self, cx: Context, Amount { cents }: Amount) -> Result<Amount> {
        let caller = cx.identity::<Caller>().map_or("nobody", |caller| &caller.0);
        println!("{caller} pays {cents} cents");
        let before = self.0.fetch_add(cents, Ordering::SeqCst);
        let cents = before + cents;
        Ok(Amount { cents })
    }
}

/// The certificate of the server, as the client saw it.
struct Seen(Bytes);

async fn connect(address: &str, tls: ClientTls) -> Result<Peer, Box<dyn Error>> {
    let keep =
        async |presented: Presented| Ok::<_, Refusal>(Seen(presented.certificates()[0].clone()));
    Ok(Peer::builder(address)
        .tls(tls)
        .authenticate(keep)
        .connect()
        .await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let files = Files::new()?;
    let tls = ServerTls::builder()
        .certificate(files.pem("server.pem"), files.pem("server-key.pem"))
        .client_roots(files.pem("root.pem"))
        .build()?;
    let server = Server::builder()
        .tls(tls.clone())
        .authenticate(caller_of)
        .layer(authorize(permissions()))
        .add_service(AccountServer::new(Book::default()))
        .bind("tls://localhost:0")
        .await?;
    let address = server.addresses()[0].to_string();
    tokio::spawn(server.run());

    let client = |name: &str| {
        let certificate = files.pem(&format!("{name}.pem"));
        let key = files.pem(&format!("{name}-key.pem"));
        ClientTls::builder()
            .roots(files.pem("root.pem"))
            .certificate(certificate, key)
            .build()
    };
    let billing = connect(&address, client("billing")?).await?;
    AccountClient::new(&billing)
        .pay(Amount { cents: 250 })
        .await?;

    let reports = connect(&address, client("reports")?).await?;
    let account = AccountClient::new(&reports);
    let balance = account.balance(BalanceRequest {}).await?;
    println!("reports reads {} cents", balance.cents);
    let denied = account
        .pay(Amount { cents: 1 })
        .await
        .expect_err("reports may not pay");
    println!("reports pays: {denied}");
    assert_eq!(denied.code(), Code::PermissionDenied);

    let nobody = ClientTls::builder().roots(files.pem("root.pem")).build()?;
    let error = connect(&address, nobody).await.expect_err("no certificate");
    println!("without a certificate: {error}");
    let plain = address.replace("tls://", "tcp://");
    let error = Peer::connect(&*plain).await.expect_err("TLS only");
    println!("without TLS: {error}");

    renew(&files, &tls, &address, &billing, client("billing")?).await
}

/// Gives the server a new certificate in the middle of calls. A server looks at its files each minute;
/// `reload` looks at once.
async fn renew(
    files: &Files,
    tls: &ServerTls,
    address: &str,
    before: &Peer,
    client: ClientTls,
) -> Result<(), Box<dyn Error>> {
    let account = AccountClient::new(before);
    let calls = tokio::spawn(async move {
        for _ in 0..1_000 {
            account.balance(BalanceRequest {}).await?;
        }
        Ok::<_, wawo::Status>(())
    });
    files.issue_server()?;
    assert!(tls.reload()?, "the files are new");
    let after = connect(address, client).await?;
    let (old, new) = (before.identity::<Seen>(), after.identity::<Seen>());
    assert!(old.map(|seen| seen.0.clone()) != new.map(|seen| seen.0.clone()));
    calls.await??;
    println!("new connections see the new certificate; 1,000 calls over the old one went on");
    Ok(())
}
