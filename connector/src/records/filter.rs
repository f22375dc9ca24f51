//! Which metrics are written.

use wildmatch::WildMatch;

/// Which metrics to write: those that an `include` pattern matches (all, when there is none) and no `exclude` pattern does.
/// In a pattern `*` stands for any text, also one with `/` and `.`, and `?` for one character.
#[derive(Debug, Clone, Default)]
pub struct MetricFilter {
    include: Vec<WildMatch>,
    exclude: Vec<WildMatch>,
}

impl MetricFilter {
    /// Of these patterns.
    pub fn new(include: &[String], exclude: &[String]) -> Self {
        let patterns = |texts: &[String]| texts.iter().map(|text| WildMatch::new(text)).collect();
        Self { include: patterns(include), exclude: patterns(exclude) }
    }

    /// Whether the metric is written.
    pub fn allows(&self, name: &str) -> bool {
        let matches = |patterns: &[WildMatch]| patterns.iter().any(|pattern| pattern.matches(name));
        (self.include.is_empty() || matches(&self.include)) && !matches(&self.exclude)
    }

    /// Whether every metric is written.
    pub fn allows_all(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// The patterns as texts: those that include and those that exclude.
    pub fn patterns(&self) -> [Vec<String>; 2] {
        [&self.include, &self.exclude].map(|patterns| patterns.iter().map(ToString::to_string).collect())
    }
}
