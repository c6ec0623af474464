//! What of the telemetry a sensor would have logged.

use std::borrow::Cow;
use vidette_telemetry::Event;

/// How much a machine logs. Sysmon writes no host names into connections: they come from the DNS answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Processes, DNS answers, connections, script blocks, BITS, registry, files.
    #[default]
    Full,
    /// Connections go through a proxy: no DNS answer names their address.
    NamelessNetwork,
    /// DNS queries are not logged.
    NoDns,
    /// Nothing but processes.
    ProcessOnly,
}

impl Profile {
    pub const ALL: [Profile; 4] = [Profile::Full, Profile::NamelessNetwork, Profile::NoDns, Profile::ProcessOnly];

    pub fn name(self) -> &'static str {
        match self {
            Profile::Full => "full",
            Profile::NamelessNetwork => "nameless-network",
            Profile::NoDns => "no-dns",
            Profile::ProcessOnly => "process-only",
        }
    }

    pub fn from_name(name: &str) -> Option<Profile> {
        Profile::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The events as far as they are logged.
    pub fn filter<'a>(self, events: Vec<Event<'a>>) -> Vec<Event<'a>> {
        let sysmon = |event: &Event| event.provider.contains("Sysmon");
        events
            .into_iter()
            .filter(|event| match self {
                Profile::Full | Profile::NamelessNetwork => true,
                Profile::NoDns => !(sysmon(event) && event.event_id == 22),
                Profile::ProcessOnly => sysmon(event) && event.event_id == 1,
            })
            .map(|mut event| {
                if self == Profile::NamelessNetwork && sysmon(&event) && event.event_id == 3 {
                    for (name, value) in &mut event.data {
                        match name.as_ref() {
                            "DestinationIp" => *value = Cow::Borrowed("10.0.0.8"),
                            "DestinationPort" => *value = Cow::Borrowed("3128"),
                            _ => {}
                        }
                    }
                }
                event
            })
            .collect()
    }
}
