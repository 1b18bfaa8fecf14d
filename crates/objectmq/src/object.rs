//! What a remote object is to this crate: something that takes a call and gives an answer.

use crate::{BoxFuture, Caller, RawValue, RemoteError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An object that can be bound. It is called from many workers at once.
pub trait RemoteObject: Send + Sync + 'static {
    /// Carries a call out. The result is sent to the caller if he waits for one; an error of an asynchronous call is only counted
    /// and logged. A panic is answered as an error and does not end the worker.
    fn call(&self, incoming: Incoming) -> BoxFuture<'_, Result<Box<RawValue>, RemoteError>>;
}

/// A call as it arrived.
#[derive(Debug)]
pub struct Incoming {
    /// Who calls.
    pub caller: Caller,
    /// The method.
    pub method: String,
    /// The parameters, not yet decoded.
    pub params: Vec<Box<RawValue>>,
    /// The id of the call; the same in all tries of one call.
    pub id: String,
    /// Whether nobody waits for an answer.
    pub asynchronous: bool,
}

impl Incoming {
    /// Decodes the only parameter of a method that takes one. A method called without a parameter gets `null`.
    pub fn param<T: DeserializeOwned>(&self) -> Result<T, RemoteError> {
        let text = match self.params.as_slice() {
            [] => "null",
            [one] => one.get(),
            more => return Err(RemoteError::bad_params(&self.method, format_args!("one was expected, {} came", more.len()))),
        };
        serde_json::from_str(text).map_err(|error| RemoteError::bad_params(&self.method, error))
    }
}

/// Encodes the result of a method. `()` and `None` become the empty result.
pub fn encode_result(result: &impl Serialize) -> Result<Box<RawValue>, RemoteError> {
    serde_json::value::to_raw_value(result)
        .map_err(|error| RemoteError::failed(format!("The result could not be encoded: {error}")))
}
