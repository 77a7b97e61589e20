//! The injections, and the alert that must follow each.

use super::harness::Harness;
use crate::drill::DrillError;

/// Bad signatures of a surge: the threshold is 25 within 5 minutes.
const SURGE: usize = 30;
/// Rejected records of a high rate: the threshold is 50 within 5 minutes.
const HIGH_RATE: usize = 60;

/// An injection and its alert. In the order of [`Trial::ALL`] none of them fires the alert of a later one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trial {
    /// One bad signature.
    SignatureFailureSeen,
    /// A burst of bad signatures.
    SignatureFailureSurge,
    /// A record that does not continue its chain.
    ChainBreak,
    /// A payload store that fails.
    IngestStorageError,
    /// Many records of an unknown device.
    HighRejectionRate,
}

impl Trial {
    /// Every trial.
    pub const ALL: [Trial; 5] = [
        Trial::SignatureFailureSeen,
        Trial::SignatureFailureSurge,
        Trial::ChainBreak,
        Trial::IngestStorageError,
        Trial::HighRejectionRate,
    ];

    /// Returns the name of the alert.
    pub fn alert(self) -> &'static str {
        match self {
            Trial::SignatureFailureSeen => "SignatureFailureSeen",
            Trial::SignatureFailureSurge => "SignatureFailureSurge",
            Trial::ChainBreak => "ChainBreak",
            Trial::IngestStorageError => "IngestStorageError",
            Trial::HighRejectionRate => "HighRejectionRate",
        }
    }

    /// Returns the trial of an alert.
    pub fn of(alert: &str) -> Option<Trial> {
        Trial::ALL.into_iter().find(|trial| trial.alert() == alert)
    }

    /// Returns the severity in the rule.
    pub fn severity(self) -> &'static str {
        match self {
            Trial::ChainBreak | Trial::IngestStorageError => "P0",
            Trial::SignatureFailureSeen | Trial::SignatureFailureSurge | Trial::HighRejectionRate => "P1",
        }
    }

    /// Returns the name of the measured time.
    pub(super) fn measure(self) -> &'static str {
        match self {
            Trial::SignatureFailureSeen => "signature_failure_seen_seconds",
            Trial::SignatureFailureSurge => "signature_failure_surge_seconds",
            Trial::ChainBreak => "chain_break_seconds",
            Trial::IngestStorageError => "ingest_storage_error_seconds",
            Trial::HighRejectionRate => "high_rejection_rate_seconds",
        }
    }

    /// Makes the injection, and returns a description of it.
    pub(super) async fn inject(self, harness: &mut Harness) -> Result<String, DrillError> {
        Ok(match self {
            Trial::SignatureFailureSeen => {
                harness.bad_signatures(1).await?;
                "a valid record with one bit of its signature flipped; it was rejected".to_owned()
            }
            Trial::SignatureFailureSurge => {
                harness.bad_signatures(SURGE).await?;
                format!("{SURGE} valid records with one bit of the signature flipped; each was rejected")
            }
            Trial::ChainBreak => {
                harness.broken_link().await?;
                "a signed record that names another record as its previous; it was rejected".to_owned()
            }
            Trial::IngestStorageError => {
                harness.failing_store().await?;
                "a failure of the payload store; the record was accepted when it was sent again".to_owned()
            }
            Trial::HighRejectionRate => {
                harness.unknown_device(HIGH_RATE).await?;
                format!("{HIGH_RATE} records of a device that is not registered; each was rejected")
            }
        })
    }
}
