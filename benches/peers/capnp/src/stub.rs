//! The hand-written stub of the echo service.
//!
//! ```capnp
//! interface Echo {
//!     echo @0 (data :Data) -> (data :Data);
//! }
//! ```
//!
//! The generator needs the `capnp` program. For a service this small, its code would be equivalent,
//! except that parameters and results would be structs, while here they are the data itself: a
//! message is one word shorter.

use std::{ops::Deref, rc::Rc};

use capnp::{
    Error, any_pointer,
    capability::{
        Client, DispatchCallResult, FromServer, Params, Promise, Request, Results, Server,
    },
    data,
};

/// A call of `echo` that was not sent yet.
pub(crate) type EchoRequest = Request<data::Owned, any_pointer::Owned>;

/// Begins a call of `echo` on `client`.
pub(crate) fn echo_request(client: &Client) -> EchoRequest {
    client.new_call(INTERFACE_ID, ECHO, None)
}

/// The service.
pub(crate) struct Echo;

impl Echo {
    async fn echo(
        self: Rc<Self>,
        params: Params<any_pointer::Owned>,
        mut results: Results<any_pointer::Owned>,
    ) -> Result<(), Error> {
        let data: data::Reader<'_> = params.get()?.get_as()?;
        results.get().set_as::<data::Owned>(data)
    }
}

impl FromServer<Echo> for Client {
    type Dispatch = EchoDispatch;

    fn from_server(echo: Rc<Echo>) -> EchoDispatch {
        EchoDispatch(echo)
    }
}

/// Finds the method of a call.
#[derive(Clone)]
pub(crate) struct EchoDispatch(Rc<Echo>);

impl Deref for EchoDispatch {
    type Target = Echo;

    fn deref(&self) -> &Echo {
        &self.0
    }
}

impl Server for EchoDispatch {
    fn dispatch_call(
        self,
        interface_id: u64,
        method_id: u16,
        params: Params<any_pointer::Owned>,
        results: Results<any_pointer::Owned>,
    ) -> DispatchCallResult {
        let promise = match (interface_id, method_id) {
            (INTERFACE_ID, ECHO) => Promise::from_future(self.0.echo(params, results)),
            _ => Promise::err(Error::unimplemented("no such method".to_owned())),
        };
        DispatchCallResult::new(promise, false)
    }

    fn as_ptr(&self) -> usize {
        Rc::as_ptr(&self.0).addr()
    }
}

/// An arbitrary number with the highest bit set.
const INTERFACE_ID: u64 = 0xb1d2_4c0e_9a53_7f86;
const ECHO: u16 = 0;
