//! What comes of an input beyond its writes and frames.

use std::rc::Rc;

use super::runtime::RawSocket;
use crate::code::Refusal;
use crate::engine::effect::{Administered, Calling, Figures, Receipt};
use crate::server::changes::SourceRequest;

/// What a request is answered with, gathered while effects are executed.
#[derive(Default)]
pub struct Outcome {
    pub opening: Option<RawSocket>,
    pub turned_away: Option<Refusal>,
    pub published: Option<std::result::Result<Receipt, Refusal>>,
    pub figures: Option<Box<Figures>>,
    pub administered: Option<std::result::Result<Administered, Refusal>>,
    pub fetch_keys: bool,
    pub timer: Option<u64>,
    pub taken: Option<std::result::Result<u64, Refusal>>,
    pub questions: Vec<(Rc<str>, SourceRequest)>,
    pub calls: Vec<Calling>,
}
