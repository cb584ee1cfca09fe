//! The lives of this isolate's objects. When an object hibernates, JavaScript's garbage collector does not free its
//! Wasm memory: unless the previous life is dropped, every wake leaks one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use super::life::Life;

/// The life of an object; `None` before its wake, and after a failed one.
pub type LifeCell = Rc<RefCell<Option<Life>>>;

thread_local! {
    static LIVES: RefCell<BTreeMap<String, Weak<RefCell<Option<Life>>>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Ends the previous life of the object with this id: the runtime runs only one at a time.
pub fn succeed(object: String, life: &LifeCell) {
    let earlier = LIVES.with_borrow_mut(|lives| {
        lives.retain(|_, life| life.strong_count() > 0);
        lives.insert(object, Rc::downgrade(life))
    });
    if let Some(earlier) = earlier.and_then(|earlier| earlier.upgrade()) {
        // A borrowed life is handling an input; it is dropped with its object.
        let ended = earlier.try_borrow_mut().ok().and_then(|mut life| life.take());
        drop(ended);
    }
}
