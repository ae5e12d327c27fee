//! The hand-written messages of the echo service.
//!
//! ```thrift
//! service Echo {
//!     binary echo(1: binary data)
//!     oneway void take(1: binary data)
//! }
//! ```
//!
//! The generator, `volo-build`, would add git2, salsa and some hundred crates to the build. For a
//! service this small, its code would make the same calls of pilota.

use bytes::Bytes;
use pilota::thrift::{
    ProtocolException, ProtocolExceptionKind, TAsyncInputProtocol, TInputProtocol, TLengthProtocol,
    TLengthProtocolExt as _, TMessageIdentifier, TOutputProtocol, TOutputProtocolExt as _,
    TStructIdentifier, TType, ThriftException,
};
use volo_thrift::EntryMessage;

/// The operation that a call requests.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Echo(Bytes),
    Take(Bytes),
}

/// The reply to `echo`; `take` has none.
#[derive(Clone, Debug)]
pub(crate) struct Reply(pub(crate) Bytes);

impl Request {
    fn new(data: Bytes, method: &TMessageIdentifier) -> Result<Self, ThriftException> {
        match &*method.name {
            "echo" => Ok(Self::Echo(data)),
            "take" => Ok(Self::Take(data)),
            name => Err(ProtocolException::new(
                ProtocolExceptionKind::InvalidData,
                format!("method `{name}` is unknown"),
            )
            .into()),
        }
    }

    const fn data(&self) -> &Bytes {
        let (Self::Echo(data) | Self::Take(data)) = self;
        data
    }
}

impl EntryMessage for Request {
    fn encode<T: TOutputProtocol>(&self, protocol: &mut T) -> Result<(), ThriftException> {
        encode(self.data(), ARGUMENT, protocol)
    }

    fn decode<T: TInputProtocol>(
        protocol: &mut T,
        method: &TMessageIdentifier,
    ) -> Result<Self, ThriftException> {
        Self::new(decode(ARGUMENT, protocol)?, method)
    }

    async fn decode_async<T: TAsyncInputProtocol>(
        protocol: &mut T,
        method: &TMessageIdentifier,
    ) -> Result<Self, ThriftException> {
        Self::new(decode_async(ARGUMENT, protocol).await?, method)
    }

    fn size<T: TLengthProtocol>(&self, protocol: &mut T) -> usize {
        size(self.data(), ARGUMENT, protocol)
    }
}

impl EntryMessage for Reply {
    fn encode<T: TOutputProtocol>(&self, protocol: &mut T) -> Result<(), ThriftException> {
        encode(&self.0, RESULT, protocol)
    }

    fn decode<T: TInputProtocol>(
        protocol: &mut T,
        _method: &TMessageIdentifier,
    ) -> Result<Self, ThriftException> {
        Ok(Self(decode(RESULT, protocol)?))
    }

    async fn decode_async<T: TAsyncInputProtocol>(
        protocol: &mut T,
        _method: &TMessageIdentifier,
    ) -> Result<Self, ThriftException> {
        Ok(Self(decode_async(RESULT, protocol).await?))
    }

    fn size<T: TLengthProtocol>(&self, protocol: &mut T) -> usize {
        size(&self.0, RESULT, protocol)
    }
}

/// Both messages are a struct with one field.
const STRUCT: TStructIdentifier = TStructIdentifier { name: "Echo" };
/// The first argument of a method.
const ARGUMENT: i16 = 1;
/// The field of a method's result.
const RESULT: i16 = 0;

fn encode<T: TOutputProtocol>(
    data: &Bytes,
    field: i16,
    protocol: &mut T,
) -> Result<(), ThriftException> {
    protocol.write_struct_begin(&STRUCT)?;
    protocol.write_bytes_field(field, data.clone())?;
    protocol.write_field_stop()?;
    protocol.write_struct_end()
}

fn size<T: TLengthProtocol>(data: &Bytes, field: i16, protocol: &mut T) -> usize {
    protocol.struct_begin_len(&STRUCT)
        + protocol.bytes_field_len(Some(field), data)
        + protocol.field_stop_len()
        + protocol.struct_end_len()
}

fn decode<T: TInputProtocol>(field: i16, protocol: &mut T) -> Result<Bytes, ThriftException> {
    let mut data = None;
    protocol.read_struct_begin()?;
    loop {
        let found = protocol.read_field_begin()?;
        match (found.field_type, found.id) {
            (TType::Stop, _) => break,
            (TType::Binary, Some(id)) if id == field => data = Some(protocol.read_bytes()?),
            (other, _) => {
                protocol.skip(other)?;
            }
        }
        protocol.read_field_end()?;
    }
    protocol.read_struct_end()?;
    data.ok_or_else(missing)
}

async fn decode_async<T: TAsyncInputProtocol>(
    field: i16,
    protocol: &mut T,
) -> Result<Bytes, ThriftException> {
    let mut data = None;
    protocol.read_struct_begin().await?;
    loop {
        let found = protocol.read_field_begin().await?;
        match (found.field_type, found.id) {
            (TType::Stop, _) => break,
            (TType::Binary, Some(id)) if id == field => data = Some(protocol.read_bytes().await?),
            (other, _) => protocol.skip(other).await?,
        }
        protocol.read_field_end().await?;
    }
    protocol.read_struct_end().await?;
    data.ok_or_else(missing)
}

fn missing() -> ThriftException {
    ProtocolException::new(ProtocolExceptionKind::InvalidData, "a message without data").into()
}
