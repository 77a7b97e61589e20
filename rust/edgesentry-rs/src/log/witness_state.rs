//! The results of comparing a log with a witness. The metrics have them also without the monitor.

/// The result of a comparison with a witness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WitnessState {
    /// The log extends the checkpoint of the witness, or has the same.
    Agrees,
    /// The checkpoint of the witness is larger than the one that the log shows.
    Ahead,
    /// The witness has not signed a checkpoint of this log.
    Never,
    /// The checkpoint of the witness contradicts the log.
    Contradicts,
    /// The witness shows an older checkpoint than before, or none.
    RolledBack,
    /// The comparison failed.
    Failed,
}

impl WitnessState {
    /// Every state.
    pub const ALL: [WitnessState; 6] = [
        WitnessState::Agrees,
        WitnessState::Ahead,
        WitnessState::Never,
        WitnessState::Contradicts,
        WitnessState::RolledBack,
        WitnessState::Failed,
    ];

    /// Returns `agrees`, `ahead`, `never`, `contradicts`, `rolled_back` or `failed`.
    pub fn name(self) -> &'static str {
        match self {
            WitnessState::Agrees => "agrees",
            WitnessState::Ahead => "ahead",
            WitnessState::Never => "never",
            WitnessState::Contradicts => "contradicts",
            WitnessState::RolledBack => "rolled_back",
            WitnessState::Failed => "failed",
        }
    }
}
