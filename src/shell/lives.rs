//! The lives of this isolate's objects. An object that hibernates leaves its memory to JavaScript's garbage collection, which
//! knows nothing of the Wasm's: without an end of the old life each wake would take its memory anew.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use super::life::Life;

/// The life of an object, which is missing before its wake, and where that failed.
pub type LifeCell = Rc<RefCell<Option<Life>>>;

thread_local! {
    static LIVES: RefCell<BTreeMap<String, Weak<RefCell<Option<Life>>>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Ends the earlier life of the object with this id, whose new one begins: the runtime has one of an object at a time.
pub fn succeed(object: String, life: &LifeCell) {
    let earlier = LIVES.with_borrow_mut(|lives| {
        lives.retain(|_, life| life.strong_count() > 0);
        lives.insert(object, Rc::downgrade(life))
    });
    if let Some(earlier) = earlier.and_then(|earlier| earlier.upgrade()) {
        // One that is borrowed is at work on an input, and ends with its object.
        let ended = earlier.try_borrow_mut().ok().and_then(|mut life| life.take());
        drop(ended);
    }
}
