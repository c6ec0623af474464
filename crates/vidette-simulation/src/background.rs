//! An ordinary day of a machine.

use crate::machine::Machine;
use crate::scenario::Activity;
use vidette_telemetry::Event;

const TICKS_PER_HOUR: i64 = 36_000_000_000;

/// The events of a machine between two instants: each activity as often as its rate says, less at night (before 7 and after
/// 19, UTC) unless it always goes on, at times that the machine's seed decides.
pub fn day(machine: &mut Machine, user: &str, activities: &[Activity], from_ticks: i64, to_ticks: i64) -> Vec<Event<'static>> {
    /// The part of the day's rate that is left at night.
    const AT_NIGHT: f64 = 0.1;
    let mut starts: Vec<(i64, usize)> = Vec::new();
    for (at, activity) in activities.iter().enumerate() {
        let mut time = from_ticks;
        loop {
            let hour = time.div_euclid(TICKS_PER_HOUR).rem_euclid(24);
            let rate = activity.per_hour * if activity.always || (7..19).contains(&hour) { 1.0 } else { AT_NIGHT };
            if rate <= 0.0 {
                break;
            }
            // Exponential waiting times make a Poisson process; none longer than an hour, so that a change of rate is seen.
            let wait = -machine.random().ln() / rate;
            if wait > 1.0 {
                time += TICKS_PER_HOUR;
            } else {
                time += (wait * TICKS_PER_HOUR as f64) as i64;
                if time < to_ticks {
                    starts.push((time, at));
                }
            }
            if time >= to_ticks {
                break;
            }
        }
    }
    starts.sort_unstable();
    let mut events: Vec<Event> = Vec::new();
    for (time, at) in starts {
        let activity = &activities[at];
        events.extend(machine.play(activity.user.as_deref().unwrap_or(user), &activity.does, time));
    }
    events.sort_by_key(|event| event.created_ticks);
    events
}
