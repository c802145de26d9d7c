//! How often a stream says something though nothing changes: the operator asks for an interval as it connects, and the agent
//! says by which it goes.

use std::time::Duration;

use crate::PATH_WATCH;

/// The interval of an agent that says nothing of it, and of one that is asked for none.
pub const DEFAULT: Duration = Duration::from_secs(2);
/// The shortest interval that an agent goes by.
pub const SHORTEST: Duration = Duration::from_millis(100);
/// The longest.
pub const LONGEST: Duration = Duration::from_secs(10);
/// The header of the answer in which an agent says by which interval it goes, in milliseconds.
pub const HEADER: &str = "mainstay-heartbeat-ms";
/// The same in the query of the request.
const QUERY: &str = "heartbeatMs=";

/// The path of a stream with heartbeats of this interval, for the operator.
pub fn ask(interval: Duration) -> String {
    format!("{PATH_WATCH}?{QUERY}{}", interval.as_millis())
}

/// The interval to go by when the request's query is this one, for the agent.
pub fn agree(query: Option<&str>) -> Duration {
    let asked = query.and_then(|query| query.split('&').find_map(|part| part.strip_prefix(QUERY)));
    read(asked)
}

/// The interval by which the agent goes, from the header of its answer, for the operator.
pub fn agreed(header: Option<&str>) -> Duration {
    read(header)
}

fn read(milliseconds: Option<&str>) -> Duration {
    let milliseconds = milliseconds.and_then(|text| text.parse().ok());
    milliseconds.map_or(DEFAULT, Duration::from_millis).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_agreed_on_within_bounds_and_who_says_nothing_goes_by_the_default() {
        let path = ask(Duration::from_millis(500));
        let (path, query) = path.split_once('?').unwrap();
        assert_eq!((path, agree(Some(query))), (PATH_WATCH, Duration::from_millis(500)));
        assert_eq!(agree(Some("x=1&heartbeatMs=700")), Duration::from_millis(700));
        for nothing in [None, Some(""), Some("heartbeatMs=soon")] {
            assert_eq!(agree(nothing), DEFAULT);
        }
        assert_eq!(agree(Some("heartbeatMs=0")), SHORTEST);
        assert_eq!(agreed(Some("99999999")), LONGEST);
        assert_eq!(agreed(None), DEFAULT, "an older agent");
    }
}
