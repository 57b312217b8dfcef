use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::{Builder, scope};

/// Stack of the compile thread, bytes. The parser takes about 25 KiB per level of nesting in a release build, far more
/// in a debug build; running out of stack aborts the process.
const STACK: usize = 32 << 20;

thread_local! {
    static DEEP: Cell<bool> = const { Cell::new(false) };
}

/// Why nothing was compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ThreadFault {
    #[error("no thread could be started for it")]
    Spawn,
    #[error("the parser failed on it")]
    Panic,
}

/// Runs `f` on a thread with a stack that is deep enough to parse CEL; for whoever compiles many documents at once.
///
/// Already on such a thread, `f` runs in place. Where none can be started, `f` runs here, and every expression it
/// compiles is refused. Blocks until `f` is done: never call it on a thread of the data path. Panics of `f` go on.
pub fn on_compile_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    if DEEP.get() {
        return f();
    }
    let mut slot = Some(f);
    let mut result = None;
    let ran = scope(|scope| {
        let run = || {
            DEEP.set(true);
            result = slot.take().map(|f| f());
        };
        Builder::new().name("compile".into()).stack_size(STACK).spawn_scoped(scope, run).map(|thread| thread.join())
    });
    if let Ok(Err(panic)) = ran {
        resume_unwind(panic);
    }
    match (result, slot) {
        (Some(result), _) => result,
        (None, Some(f)) => f(),
        // The thread ran, so it took the closure and left its result, or panicked above.
        (None, None) => resume_unwind(Box::new("the compile thread left no result")),
    }
}

/// Runs `f` on a deep stack, or not at all; a panic of the parser is an error of the expression.
pub(super) fn on_deep_stack<T: Send>(f: impl FnOnce() -> T + Send) -> Result<T, ThreadFault> {
    on_compile_thread(|| {
        if !DEEP.get() {
            return Err(ThreadFault::Spawn);
        }
        catch_unwind(AssertUnwindSafe(f)).map_err(|_panic| ThreadFault::Panic)
    })
}
