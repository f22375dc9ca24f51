//! How long a thread has computed: unlike a clock on the wall it stands still while the thread waits, or others have the processor.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Processor time of the calling thread so far, the system's work for it included.
pub fn cpu_time() -> Duration {
    // It never is negative.
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_with_computing_and_not_with_waiting() {
        let began = cpu_time();
        // What is measured: a thread that waits.
        std::thread::sleep(Duration::from_millis(200));
        let waited = cpu_time() - began;
        assert!(waited < Duration::from_millis(100), "{waited:?}");
        while cpu_time() - began < waited + Duration::from_millis(20) {
            std::hint::spin_loop();
        }
    }
}
