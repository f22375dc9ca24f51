//! How many steps of a history to ask for at once (`graphql`): so many that a response holds about a MiB, whatever the width of
//! the rows and the gaps between them.

/// What a response should hold.
const TARGET_BYTES: f64 = (1 << 20) as f64;
/// A response larger than this is given up and asked for in smaller parts.
pub(crate) const BODY_LIMIT: usize = 6 << 20;
/// A response of a single step may be as large as any other.
const STEP_BODY_LIMIT: usize = crate::api::client::BODY_LIMIT;
/// Rows of the first response, before the width of a row is known.
const FIRST_ROWS: f64 = 1000.0;
/// The most rows to ask for at once.
const MOST_ROWS: f64 = 20_000.0;
/// `samples` is a GraphQL Int.
const MOST_STEPS: f64 = i32::MAX as f64;
/// With so many samples or fewer, no server was seen to sample.
const STRICT_STEPS: i64 = 1000;

/// Whether to trust that a range is complete when as many samples were asked for as it has steps, however many that are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Ranges of any length.
    Adaptive,
    /// Ranges that no server was seen to sample.
    Strict,
}

/// The pace through one history.
#[derive(Debug)]
pub struct AdaptiveWindow {
    strictness: Strictness,
    steps: f64,
    row_bytes: f64,
}

impl AdaptiveWindow {
    /// For a history of about `rows` rows of about `row_bytes` bytes (0: not known).
    pub fn new(strictness: Strictness, rows: u64, row_bytes: f64) -> Self {
        // Without a sign of gaps, steps are as dense as rows. A few more steps cost nothing when there are none.
        let fitting = if row_bytes > 0.0 { (TARGET_BYTES / row_bytes).clamp(1.0, MOST_ROWS) } else { FIRST_ROWS };
        let steps = fitting.min((rows as f64 * 1.05).max(FIRST_ROWS));
        Self { strictness, steps, row_bytes }
    }

    /// How many steps to ask for next: 1 to `i32::MAX`.
    pub fn steps(&self) -> i64 {
        let steps = self.steps.clamp(1.0, MOST_STEPS) as i64;
        if self.strictness == Strictness::Strict { steps.min(STRICT_STEPS) } else { steps }
    }

    /// How large the response may be.
    pub fn body_limit(&self) -> usize {
        if self.steps() == 1 { STEP_BODY_LIMIT } else { BODY_LIMIT }
    }

    /// A response was too large. False: a smaller one can't be asked for.
    pub fn shrink(&mut self) -> bool {
        let steps = self.steps();
        self.steps = (steps as f64 / 8.0).max(1.0);
        steps > 1
    }

    /// A response of `bytes` bytes held `rows` rows of a range of `steps`.
    pub fn observe(&mut self, steps: i64, rows: usize, bytes: usize) {
        let asked = steps as f64;
        if rows == 0 {
            self.steps = asked * 64.0;
            return;
        }
        self.row_bytes = bytes as f64 / rows as f64;
        let fitting = (TARGET_BYTES / self.row_bytes).clamp(1.0, MOST_ROWS);
        let density = rows as f64 / asked;
        self.steps = (fitting / density).min(asked * 16.0);
    }

    /// The next row was found behind a gap: about `rows` rows (0: not known) lie in the next `span` steps.
    pub fn land(&mut self, rows: u64, span: i64) {
        let fitting =
            if self.row_bytes > 0.0 { (TARGET_BYTES / self.row_bytes).clamp(1.0, MOST_ROWS) } else { FIRST_ROWS };
        let steps_per_row = if rows > 0 { (span as f64 / rows as f64).max(1.0) } else { 1.0 };
        self.steps = fitting.min((rows as f64).max(FIRST_ROWS)) * steps_per_row;
    }

    /// The width of the rows seen last, for the next history's first response.
    pub fn row_bytes(&self) -> f64 {
        self.row_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_rows_come_in_large_pages_and_wide_rows_in_small_ones() {
        let mut narrow = AdaptiveWindow::new(Strictness::Adaptive, 1_000_000, 0.0);
        assert_eq!(narrow.steps(), 1000);
        narrow.observe(1000, 1000, 100_000);
        assert_eq!(narrow.steps(), 10_485);
        let mut wide = AdaptiveWindow::new(Strictness::Adaptive, 1_000_000, 0.0);
        wide.observe(1000, 1000, 100_000_000);
        assert_eq!(wide.steps(), 10);
    }

    #[test]
    fn a_gap_of_two_billion_steps_costs_a_handful_of_requests() {
        let mut pace = AdaptiveWindow::new(Strictness::Adaptive, 2, 0.0);
        let (mut at, mut requests) = (0i64, 0);
        while at <= 1 << 31 {
            let steps = pace.steps();
            let rows = usize::from(at == 0) + usize::from((at..at + steps).contains(&(1 << 31)));
            pace.observe(steps, rows, rows * 100);
            at += steps;
            requests += 1;
        }
        assert!(requests <= 6, "{requests}");
    }

    #[test]
    fn behind_a_gap_rows_are_taken_to_be_as_dense_as_their_number_says() {
        let mut pace = AdaptiveWindow::new(Strictness::Adaptive, 10_000, 0.0);
        pace.observe(1000, 0, 0);
        pace.land(10_000, 10_000_000_000);
        assert_eq!(pace.steps(), 1_000_000_000);
        pace.land(0, 10_000_000_000);
        assert_eq!(pace.steps(), 1000);
        pace.land(10, 5);
        assert_eq!(pace.steps(), 1000);
    }

    #[test]
    fn a_response_that_is_too_large_is_asked_for_in_parts_down_to_one_step() {
        let mut pace = AdaptiveWindow::new(Strictness::Adaptive, 1000, 0.0);
        let mut shrunk = 0;
        while pace.shrink() {
            shrunk += 1;
        }
        assert_eq!((shrunk, pace.steps()), (3, 1));
        assert!(pace.body_limit() > BODY_LIMIT);
    }

    #[test]
    fn strict_ranges_stay_short() {
        let mut pace = AdaptiveWindow::new(Strictness::Strict, 1_000_000, 10.0);
        pace.observe(1000, 0, 0);
        assert_eq!(pace.steps(), STRICT_STEPS);
    }
}
