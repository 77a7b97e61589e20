//! Topics: the sources of records, the devices that may use them, and the destinations of outcomes.
//!
//! A topic filter with `{device_id}` as a level binds each message to a device, for which the broker vouches by its
//! access rules. Outcomes follow that binding and never the record, because a sender can name any device in a record.

use rumqttc::{matches, valid_filter, valid_topic};

use edgesentry_rs::error::Error;

/// The placeholder of the device in a topic.
pub(super) const DEVICE: &str = "{device_id}";
/// The longest topic of an outcome.
const MAX_TOPIC_BYTES: usize = 4096;

/// The device that a topic is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) device_id: String,
    /// The levels of the topic up to the device, with a slash at the end: topics below it belong to the device.
    own: String,
}

/// All configured topics.
#[derive(Debug)]
pub(super) struct Topics {
    filters: Vec<Filter>,
    /// The topic of the outcomes of a device.
    outcomes: Option<String>,
    /// Topics at or below which a sender may request its outcome.
    responses: Vec<String>,
}

impl Topics {
    pub(super) fn new(
        topics: &[String],
        outcomes: Option<&String>,
        responses: &[String],
    ) -> Result<Topics, Error> {
        if topics.is_empty() {
            return Err(Error::Config("serve.mqtt.topics: expected at least one topic".to_owned()));
        }
        let filters: Vec<Filter> = topics.iter().map(|topic| Filter::new(topic)).collect::<Result<_, _>>()?;
        let topics = Topics { filters, outcomes: outcomes.cloned(), responses: responses.to_vec() };
        if let Some(outcomes) = outcomes {
            let wrong = |problem: &str| Error::Config(format!("serve.mqtt.outcomes: {problem}"));
            let example = of_device(outcomes, "device");
            if !is_plain(&example) {
                return Err(wrong("expected a topic without wildcards that does not begin with $"));
            }
            if topics.takes_records_from(&example) {
                return Err(wrong("the topic of outcomes must not match a topic of records"));
            }
        }
        for response in responses {
            let bound = response.split('/').any(|level| level == DEVICE);
            if !bound || !is_plain(&of_device(response, "device")) {
                let problem = format!(
                    "serve.mqtt.responses: {response:?}: expected a topic without wildcards that has {DEVICE} as a level"
                );
                return Err(Error::Config(problem));
            }
        }
        Ok(topics)
    }

    /// Returns the filters to subscribe to.
    pub(super) fn subscribed(&self) -> impl Iterator<Item = &str> {
        self.filters.iter().map(|filter| filter.subscribed.as_str())
    }

    /// Returns true if outcomes are configured that messages of some filter never have.
    pub(super) fn leaves_outcomes_out(&self) -> bool {
        (self.outcomes.is_some() || !self.responses.is_empty())
            && self.filters.iter().any(|filter| filter.device.is_none())
    }

    fn takes_records_from(&self, topic: &str) -> bool {
        self.filters.iter().any(|filter| filter.matches(topic))
    }

    /// Returns the devices that the filters bind a topic to: at most one, unless filters contradict each other.
    pub(super) fn bound(&self, topic: &str) -> Vec<Bound> {
        let mut bound: Vec<Bound> = Vec::new();
        for filter in self.filters.iter().filter(|filter| filter.matches(topic)) {
            if let Some(device) = filter.bound(topic)
                && !bound.contains(&device)
            {
                bound.push(device);
            }
        }
        bound
    }

    /// Returns the topic for the outcome of a message of this device: its response topic if that belongs to the device,
    /// otherwise the topic for outcomes.
    pub(super) fn reply_to(&self, bound: &Bound, response: Option<&str>) -> Result<Option<String>, String> {
        let Some(topic) = response else {
            let topic = self.outcomes.as_ref().map(|outcomes| of_device(outcomes, &bound.device_id));
            return Ok(topic.filter(|topic| is_plain(topic) && !self.takes_records_from(topic)));
        };
        let below = |prefix: &str| {
            topic.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let own = topic.starts_with(&bound.own)
            || self.responses.iter().any(|response| below(&of_device(response, &bound.device_id)));
        // An outcome that returned as a message would have an outcome, and so on.
        if own && is_plain(topic) && !self.takes_records_from(topic) {
            Ok(Some(topic.to_owned()))
        } else {
            Err(topic.chars().take(200).collect())
        }
    }
}

/// Returns true for a topic that a client may publish to, and that is not reserved for the broker.
fn is_plain(topic: &str) -> bool {
    valid_topic(topic)
        && !topic.is_empty()
        && !topic.starts_with('$')
        && topic.len() <= MAX_TOPIC_BYTES
        && !topic.chars().any(char::is_control)
}

fn of_device(pattern: &str, device_id: &str) -> String {
    pattern.replace(DEVICE, device_id)
}

/// A topic filter whose level for the device is known.
#[derive(Debug)]
struct Filter {
    /// The filter to subscribe to.
    subscribed: String,
    /// The filter without its share.
    plain: String,
    /// The level of a topic that names the device.
    device: Option<usize>,
}

impl Filter {
    fn new(pattern: &str) -> Result<Filter, Error> {
        let wrong = |problem: &str| Error::Config(format!("serve.mqtt.topics: {pattern:?}: {problem}"));
        let levels: Vec<&str> = pattern.split('/').collect();
        let share = if levels[0] == "$share" { 2 } else { 0 };
        if levels.len() <= share {
            return Err(wrong("expected $share/GROUP/FILTER"));
        }
        let mut named = levels[share..].iter().enumerate().filter(|(_, level)| **level == DEVICE);
        let device = named.next().map(|(level, _)| level);
        if named.next().is_some() || levels.iter().any(|level| level.contains(DEVICE) && *level != DEVICE) {
            return Err(wrong("{device_id} must appear once, as a whole level"));
        }
        let subscribed = pattern.replace(DEVICE, "+");
        let plain = subscribed.splitn(share + 1, '/').last().unwrap_or_default().to_owned();
        if !valid_filter(&plain) {
            return Err(wrong("not a topic filter"));
        }
        Ok(Filter { subscribed, plain, device })
    }

    fn matches(&self, topic: &str) -> bool {
        matches(topic, &self.plain)
    }

    fn bound(&self, topic: &str) -> Option<Bound> {
        let device = self.device?;
        let levels: Vec<&str> = topic.split('/').take(device + 1).collect();
        let device_id = (*levels.get(device)?).to_owned();
        Some(Bound { device_id, own: format!("{}/", levels.join("/")) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(filters: &[&str], outcomes: Option<&str>, responses: &[&str]) -> Result<Topics, Error> {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Topics::new(&own(filters), outcomes.map(str::to_owned).as_ref(), &own(responses))
    }

    fn devices(topics: &Topics, topic: &str) -> Vec<String> {
        topics.bound(topic).into_iter().map(|bound| bound.device_id).collect()
    }

    #[test]
    fn a_level_of_a_topic_names_the_device() {
        let fleet = topics(&["fleet/{device_id}/records/#"], None, &[]).unwrap();
        assert_eq!(fleet.subscribed().collect::<Vec<_>>(), ["fleet/+/records/#"]);
        assert_eq!(devices(&fleet, "fleet/lift-01/records/door"), ["lift-01"]);
        assert!(devices(&fleet, "fleet/lift-01/outcomes").is_empty());
        let shared = topics(&["$share/nodes/{device_id}/records"], None, &[]).unwrap();
        assert_eq!(shared.subscribed().collect::<Vec<_>>(), ["$share/nodes/+/records"]);
        assert_eq!(devices(&shared, "lift-01/records"), ["lift-01"]);
        assert!(devices(&topics(&["records"], None, &[]).unwrap(), "records").is_empty());
        // A filter without a device does not remove the binding of another.
        let both = topics(&["fleet/#", "fleet/{device_id}/records"], None, &[]).unwrap();
        assert_eq!(devices(&both, "fleet/lift-01/records"), ["lift-01"]);
        for wrong in ["", "a/#/b", "a+", "$share/nodes", "{device_id}/{device_id}", "lift-{device_id}/x"] {
            assert!(topics(&[wrong], None, &[]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn outcomes_are_not_ingested_as_records() {
        let with = |filters: &[&str], outcomes| topics(filters, Some(outcomes), &[]);
        let records = ["edgesentry/{device_id}/records"];
        assert!(with(&records, "edgesentry/{device_id}/outcomes").is_ok());
        assert!(with(&records, "edgesentry/{device_id}/records").is_err());
        assert!(with(&records, "edgesentry/+/outcomes").is_err());
        assert!(with(&records, "$SYS/outcomes").is_err());
        assert!(with(&["#"], "any/where").is_err());
        assert!(topics(&[], None, &[]).is_err());
    }

    #[test]
    fn a_sender_gets_outcomes_only_below_its_own_level() {
        let topics = topics(
            &["edgesentry/{device_id}/records"],
            Some("edgesentry/{device_id}/outcomes"),
            &["replies/{device_id}"],
        )
        .unwrap();
        let bound = topics.bound("edgesentry/b/records").remove(0);
        let reply = |response| topics.reply_to(&bound, response);
        assert_eq!(reply(None).unwrap().unwrap(), "edgesentry/b/outcomes");
        for own in ["edgesentry/b/replies", "edgesentry/b/x/y", "replies/b", "replies/b/1"] {
            assert_eq!(reply(Some(own)).unwrap().unwrap(), own);
        }
        for foreign in [
            "cmd/door",
            "edgesentry/lift-A/outcomes",
            "edgesentry/b",
            "edgesentry/bb/x",
            "edgesentry/b/records",
            "edgesentry/b/#",
            "edgesentry/b/+",
            "edgesentry/b/\u{7}",
            "replies/lift-A",
            "replies/bb",
            "replies",
            "$SYS/edgesentry/b/x",
            "$share/g/edgesentry/b/x",
            "",
        ] {
            assert!(reply(Some(foreign)).is_err(), "{foreign}");
        }
        for wrong in ["replies", "replies/x{device_id}", "replies/{device_id}/#", "$x/{device_id}"] {
            assert!(super::Topics::new(&["r".to_owned()], None, &[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
