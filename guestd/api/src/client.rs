//! The side that asks for actions.
//!
//! [`Actions`] has one required method, [`Actions::call`]. The typed methods (`guest.ls("/")`) are provided
//! for everything that implements it by the traits in [`crate::prelude`].

use crate::{Call, Error, Result, Value};
use std::fmt;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Something that can carry actions out: an appliance, a direct reader, both one after the other.
pub trait Actions {
    /// Carries one action out.
    ///
    /// The context holds the streams of an action that has them. If it carries a cancel token, the call ends
    /// soon after that is triggered with [`Error::Cancelled`].
    fn call(&self, call: &Call, context: &mut Context<'_>) -> Result<Value>;
}

impl<T: Actions + ?Sized> Actions for &T {
    fn call(&self, call: &Call, context: &mut Context<'_>) -> Result<Value> {
        (**self).call(call, context)
    }
}

impl<T: Actions + ?Sized> Actions for Arc<T> {
    fn call(&self, call: &Call, context: &mut Context<'_>) -> Result<Value> {
        (**self).call(call, context)
    }
}

impl<T: Actions + ?Sized> Actions for Box<T> {
    fn call(&self, call: &Call, context: &mut Context<'_>) -> Result<Value> {
        (**self).call(call, context)
    }
}

/// How far a long action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Done so far, in units of the action's choice.
    pub position: u64,
    /// All there is to do; 0 when unknown (the report then only says that there is life).
    pub total: u64,
}

/// Is called with each progress report, in the thread that made the call.
pub type ProgressFn<'a> = dyn Fn(Progress) + 'a;

/// What goes with a call but is not an argument.
#[derive(Default)]
pub struct Context<'a> {
    /// Where a FileIn argument is read from.
    pub input: Option<&'a mut dyn Read>,
    /// Where a FileOut argument is written to.
    pub output: Option<&'a mut dyn Write>,
    /// Who wants to know how far it is.
    pub progress: Option<&'a ProgressFn<'a>>,
    /// What ends it early.
    pub cancel: Option<&'a CancelToken>,
}

impl Context<'_> {
    /// The same for a part of the time: what a call inside of a call is given.
    pub fn reborrow(&mut self) -> Context<'_> {
        Context {
            input: self.input.as_mut().map(|input| &mut **input as &mut dyn Read),
            output: self.output.as_mut().map(|output| &mut **output as &mut dyn Write),
            progress: self.progress,
            cancel: self.cancel,
        }
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("input", &self.input.is_some())
            .field("output", &self.output.is_some())
            .finish_non_exhaustive()
    }
}

/// The same actions with a progress report or a way to cancel: `With::new(&guest).cancel(&token).ls("/")`.
pub struct With<'a, A: ?Sized> {
    actions: &'a A,
    progress: Option<&'a ProgressFn<'a>>,
    cancel: Option<&'a CancelToken>,
}

impl<'a, A: Actions + ?Sized> With<'a, A> {
    /// Nothing but the actions.
    pub fn new(actions: &'a A) -> Self {
        With { actions, progress: None, cancel: None }
    }

    /// Adds who wants to know how far calls are.
    pub fn progress(mut self, report: &'a ProgressFn<'a>) -> Self {
        self.progress = Some(report);
        self
    }

    /// Adds what ends calls early.
    pub fn cancel(mut self, token: &'a CancelToken) -> Self {
        self.cancel = Some(token);
        self
    }
}

impl<A: Actions + ?Sized> Actions for With<'_, A> {
    fn call(&self, call: &Call, context: &mut Context<'_>) -> Result<Value> {
        let (progress, cancel) = (self.progress.or(context.progress), self.cancel.or(context.cancel));
        self.actions.call(call, &mut Context { progress, cancel, ..context.reborrow() })
    }
}

/// Ends calls early. Clones share one state; once triggered it stays so.
#[derive(Clone, Default)]
pub struct CancelToken(Arc<CancelState>);

type Waker = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct CancelState {
    cancelled: AtomicBool,
    next: AtomicU64,
    wakers: Mutex<Vec<(u64, Waker)>>,
}

impl CancelToken {
    /// A token that was not triggered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels every call that carries this token, those to come as well.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        let wakers = self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (_, wake) in wakers {
            wake();
        }
    }

    /// True once it was triggered.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Has `wake` called when the token is triggered (at once if it was), until the guard is dropped.
    pub fn on_cancel(&self, wake: impl Fn() + Send + Sync + 'static) -> CancelGuard {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let wake: Waker = Arc::new(wake);
        self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner).push((id, Arc::clone(&wake)));
        if self.is_cancelled() {
            wake();
        }
        CancelGuard { state: Arc::clone(&self.0), id }
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelToken").field(&self.is_cancelled()).finish()
    }
}

/// Takes the waker back when dropped. A waker may be called twice, and once more while this is dropped.
#[must_use = "the waker is taken back when this is dropped"]
pub struct CancelGuard {
    state: Arc<CancelState>,
    id: u64,
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.state.wakers.lock().unwrap_or_else(PoisonError::into_inner).retain(|(id, _)| *id != self.id);
    }
}

/// Makes a typed result of a value that came back.
pub(crate) fn unpack<R: crate::RetKind>(action: &'static str, value: Value) -> Result<R::Type> {
    R::unpack(value)
        .ok_or_else(|| Error::Protocol(format!("'{action}' answered with a result of the wrong kind")))
}
