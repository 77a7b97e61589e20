//! The answer to one record.

use serde::{Deserialize, Serialize};

use super::problem::ProblemCode;
use crate::rejection::OutcomeKind;

/// The outcome of a record.
#[derive(Serialize, Deserialize, Clone, Default, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Outcome))]
pub struct Answer {
    /// The line of a batch, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The device; absent if the line is not a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// The sequence; absent if the line is not a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// `accepted`, `duplicate`, `rejected`, or `error`: no outcome yet, see `retryable`.
    #[serde(with = "outcome")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub outcome: Option<OutcomeKind>,
    /// The reason of a rejection, or the code of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub reason: Option<ProblemCode>,
    /// What the failed check expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What it found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
    /// The cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether sending it again may help.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retryable: bool,
}

/// The outcome by its name; none is `error`. A client takes an outcome that only newer services know for one.
mod outcome {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::rejection::OutcomeKind;

    pub(super) fn serialize<S: Serializer>(
        outcome: &Option<OutcomeKind>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(outcome.map_or("error", OutcomeKind::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<OutcomeKind>, D::Error> {
        Ok(String::deserialize(deserializer)?.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_keep_their_names_on_the_wire() {
        for (outcome, name) in [
            (Some(OutcomeKind::Accepted), "accepted"),
            (Some(OutcomeKind::Duplicate), "duplicate"),
            (Some(OutcomeKind::Rejected), "rejected"),
            (None, "error"),
        ] {
            let answer = Answer { outcome, ..Answer::default() };
            let text = format!(r#"{{"outcome":"{name}"}}"#);
            assert_eq!(serde_json::to_string(&answer).unwrap(), text);
            assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), answer);
        }
        let newer: Answer =
            serde_json::from_str(r#"{"outcome":"held","reason":"of_a_newer_service"}"#).unwrap();
        assert_eq!(newer.outcome, None);
        assert_eq!(newer.reason.unwrap().as_str(), "of_a_newer_service");
        serde_json::from_str::<Answer>(r#"{"summary":{}}"#).unwrap_err();
    }
}
