//! The configuration from the runtime's variables and secrets, read once per isolate.

use std::cell::OnceCell;
use std::rc::Rc;

use wasm_bindgen::{JsCast, JsValue};
use worker::Env;

use super::runtime::RawEnv;
use crate::code::{Code, Refusal};
use crate::dialect::read_configuration;
use crate::policy::configuration::Configuration;

thread_local! {
    /// Variables never change under a running isolate: a new version gets new isolates.
    static CONFIGURATION: OnceCell<Result<Rc<Configuration>, Refusal>> = const { OnceCell::new() };
}

/// The deployment's configuration.
///
/// # Errors
/// [`crate::code::Code::Configuration`], naming the variable.
pub fn configuration(env: &Env) -> Result<Rc<Configuration>, Refusal> {
    let read = || {
        let configuration = read_configuration(&|name| variable(env, name))?;
        let raw: &RawEnv = env.unchecked_ref();
        if configuration.relays.is_some() && raw.relays().is_none() {
            return Err(Refusal::because(Code::Configuration, "REALTIME.relays needs the binding RELAY."));
        }
        Ok(Rc::new(configuration))
    };
    CONFIGURATION.with(|cell| cell.get_or_init(read).clone())
}

/// The text of a variable or secret, an object as JSON; `None` if it is unset or empty.
pub fn variable(env: &Env, name: &str) -> Option<String> {
    let env: &JsValue = env.unchecked_ref();
    let value = js_sys::Reflect::get(env, &JsValue::from_str(name)).ok()?;
    let text = match value.as_string() {
        Some(text) => text,
        None if value.is_object() => js_sys::JSON::stringify(&value).ok()?.as_string()?,
        None => return None,
    };
    (!text.is_empty()).then_some(text)
}
