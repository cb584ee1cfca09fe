//! Frames of native clients (docs/protocol-native.md, Frames from the client).

use std::rc::Rc;

use super::CLIENT_FRAMES;
use crate::code::{Code, Refusal};
use crate::engine::command::{Authenticate, Command, Position, Recover, Subscribe, TableTarget, Target};
use crate::engine::publication::{Payload, topic};
use crate::policy::filter::Filter;
use crate::policy::limits::{ID_BYTES, NAME_BYTES, ORGANIZATION_CHARACTERS};
use crate::policy::secret::Secret;
use crate::policy::table::{DEFAULT_SCHEMA, Operation};
use crate::value::form::{Field, Form};

/// Maximum subscriptions in an authentication frame.
const MAX_SUBSCRIPTIONS: usize = 200;

/// Reads a frame.
pub(super) fn command(mut form: Form<'_>) -> Result<Command, Refusal> {
    let kind = form.require("type")?;
    let kind = kind.text()?;
    let command = match kind.as_str() {
        "auth" => Command::Authenticate(authenticate(&mut form)?),
        "subscribe" => Command::Subscribe(subscribe(&mut form)?),
        "unsubscribe" => Command::Unsubscribe { id: form.require("id")?.name(ID_BYTES)? },
        "broadcast" => publish(&mut form)?,
        "presence_track" => Command::Track { topic: topic(&mut form)?, key: None, metadata: metadata(&mut form)? },
        "presence_update" => Command::Update { topic: topic(&mut form)?, metadata: metadata(&mut form)? },
        "presence_untrack" => Command::Untrack { topic: topic(&mut form)?, key: None },
        "ping" => Command::Ping { id: None },
        _ => return Err(Refusal::of(Code::UnknownType)),
    };
    debug_assert!(CLIENT_FRAMES.contains(&kind.as_str()), "{kind} is missing in CLIENT_FRAMES");
    form.finish()?;
    Ok(command)
}

fn authenticate(form: &mut Form<'_>) -> Result<Authenticate, Refusal> {
    let subscriptions = form.take("subscriptions").map(|list| initial_subscriptions(&list)).transpose()?;
    Ok(Authenticate {
        proven: None,
        // Pasted tokens may have surrounding white space.
        token: Secret::new(form.require("token")?.text()?.trim().to_owned()),
        organization: form.take("organizationId").map(|id| id.name(ORGANIZATION_CHARACTERS)).transpose()?,
        recover: form.take("recover").map(|recover| self::recover(&recover)).transpose()?.unwrap_or_default(),
        subscriptions,
        batches: form.take("batch").map_or(Ok(false), |batch| batch.boolean())?,
    })
}

fn initial_subscriptions(list: &Field<'_>) -> Result<Vec<Subscribe>, Refusal> {
    list.list(MAX_SUBSCRIPTIONS)?.iter().map(initial_subscription).collect()
}

fn initial_subscription(field: &Field<'_>) -> Result<Subscribe, Refusal> {
    let mut form = field.form()?;
    let subscribe = subscribe(&mut form)?;
    form.finish()?;
    Ok(subscribe)
}

/// `true`, `false`, or the position to recover from.
fn recover(field: &Field<'_>) -> Result<Recover, Refusal> {
    match field.boolean() {
        Ok(true) => Ok(Recover::On),
        Ok(false) => Ok(Recover::Off),
        Err(_) => Ok(Recover::From(position(field)?)),
    }
}

fn position(field: &Field<'_>) -> Result<Position, Refusal> {
    let mut form = field.form()?;
    let position = Position { epoch: form.require("epoch")?.name(ID_BYTES)?, offset: form.require("offset")?.count()? };
    form.finish()?;
    Ok(position)
}

fn subscribe(form: &mut Form<'_>) -> Result<Subscribe, Refusal> {
    let id = form.require("id")?.name(ID_BYTES)?;
    let target = match (topic(form)?, form.take("table")) {
        (Some(topic), None) => {
            Target::Topic { topic, presence: form.take("presence").map_or(Ok(false), |presence| presence.boolean())? }
        }
        (None, Some(table)) => Target::Table(table_target(form, &table)?),
        _ => return Err(Refusal::because(Code::InvalidFrame, "A subscription is to a table or to a topic.")),
    };
    // Changes are recovered by the connection, not by the subscription.
    let recover = match &target {
        Target::Topic { .. } => form.take("recover").map(|recover| position(&recover)).transpose()?,
        Target::Table(_) => None,
    };
    Ok(Subscribe { id, is_numbered: false, target, recover, answer: None })
}

fn table_target(form: &mut Form<'_>, table: &Field<'_>) -> Result<TableTarget, Refusal> {
    let schema = form.take("schema").map(|schema| schema.name(NAME_BYTES)).transpose()?;
    let event = match form.take("event") {
        None => None,
        Some(event) => match event.text()?.as_str() {
            "*" => None,
            word => Some(
                Operation::named(word)
                    .ok_or_else(|| event.refuse("must be \"*\", \"INSERT\", \"UPDATE\" or \"DELETE\""))?,
            ),
        },
    };
    let filter = match form.take("filter") {
        None => Filter::default(),
        Some(field) => {
            let parsed = Filter::parse(&field.text()?);
            parsed.map_err(|refusal| Refusal { field: Some(field.path()), ..refusal })?
        }
    };
    let schema = schema.unwrap_or_else(|| DEFAULT_SCHEMA.to_owned());
    Ok(TableTarget { schema, table: table.name(NAME_BYTES)?, event, filter, select: None, number: 0 })
}

fn publish(form: &mut Form<'_>) -> Result<Command, Refusal> {
    let topic = topic(form)?.ok_or_else(|| form.refuse("topic", "is required"))?;
    Ok(Command::Publish {
        topic,
        event: form.require("event")?.name(NAME_BYTES)?,
        payload: Payload::read(form)?.unwrap_or_else(|| Payload::Json(Rc::from("null"))),
        id: form.take("id").map(|id| id.name(ID_BYTES)).transpose()?,
        echo: form.take("echo").map_or(Ok(true), |echo| echo.boolean())?,
        key: form.take("key").map(|key| key.name(ID_BYTES)).transpose()?,
    })
}

fn metadata(form: &mut Form<'_>) -> Result<Rc<str>, Refusal> {
    let metadata = form.require("metadata")?;
    // Only an object is accepted, so that nothing else is stored and sent to others.
    metadata.form()?;
    Ok(Rc::from(metadata.json()))
}
