//! How a field's text is rewritten for a column, by the name that `mappings/*.txt` uses.

use std::borrow::Cow;

pub(crate) type Conversion = for<'t> fn(&'t str) -> Cow<'t, str>;

pub(crate) fn find(name: &str) -> Option<Conversion> {
    CONVERSIONS.iter().find(|(known, _)| *known == name).map(|(_, conversion)| *conversion)
}

const CONVERSIONS: &[(&str, Conversion)] = &[
    ("lower", |text| text.to_lowercase().into()),
    ("number", |text| crate::event::number(text).map_or(Cow::Borrowed(text), |number| number.to_string().into())),
    ("guid", |text| crate::normalize::columns::process_guid(text).into()),
    ("hive", hive),
    ("valuetype", |text| value_parts(text).0.into()),
    ("valuedata", |text| value_parts(text).1),
    ("auditvaluetype", audit_value_type),
    ("hosturl", |text| line_of(text, "HostUrl=").into()),
    ("referrerurl", |text| line_of(text, "ReferrerUrl=").into()),
    ("hostapplication", |text| line_of(text, "HostApplication=").into()),
    ("logontype", logon_type),
    ("failure", failure),
    ("device", |text| device_path(text).into()),
    ("protocol", |text| protocol(text).into()),
    ("program", |text| program(text).into()),
    ("defenderpath", |text| text.split(';').next().unwrap_or(text).trim_start_matches("file:_").into()),
    ("list", |text| serde_json::Value::Array(text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(Into::into).collect()).to_string().into()),
];

/// A key with the long name of its hive, as Defender writes it.
pub(crate) fn hive(path: &str) -> Cow<'_, str> {
    const HIVES: &[(&str, &str)] = &[
        (r"HKLM\", r"HKEY_LOCAL_MACHINE\"),
        (r"HKU\", r"HKEY_USERS\"),
        (r"HKCR\", r"HKEY_LOCAL_MACHINE\SOFTWARE\Classes\"),
        (r"HKCU\", r"HKEY_CURRENT_USER\"),
        (r"\REGISTRY\MACHINE\", r"HKEY_LOCAL_MACHINE\"),
        (r"\REGISTRY\USER\", r"HKEY_USERS\"),
    ];
    for (short, long) in HIVES {
        if path.get(..short.len()).is_some_and(|head| head.eq_ignore_ascii_case(short)) {
            return format!("{long}{}", &path[short.len()..]).into();
        }
    }
    path.into()
}

/// Sysmon's `DWORD (0x00000001)` as `Dword` and `1`; `Binary Data` has no data; any other text is a string.
fn value_parts(details: &str) -> (&'static str, Cow<'_, str>) {
    let inner = |name: &str| details.strip_prefix(name)?.trim().strip_prefix('(')?.strip_suffix(')');
    let decimal = |text: &str| -> Cow<'static, str> { crate::event::number(text).map_or_else(|| text.to_owned().into(), |number| number.to_string().into()) };
    if let Some(text) = inner("DWORD") {
        ("Dword", decimal(text))
    } else if let Some(text) = inner("QWORD") {
        let halves: Option<u64> = text.split_once('-').and_then(|(high, low)| Some(((crate::event::number(high)? as u64) << 32) | crate::event::number(low)? as u64));
        ("Qword", halves.map_or_else(|| decimal(text), |number| number.to_string().into()))
    } else if details == "Binary Data" {
        ("Binary", "".into())
    } else {
        ("String", details.into())
    }
}

/// The type names of event 4657.
fn audit_value_type(text: &str) -> Cow<'_, str> {
    match text {
        "%%1872" => "None",
        "%%1873" => "String",
        "%%1874" => "ExpandString",
        "%%1875" => "Binary",
        "%%1876" => "Dword",
        "%%1879" => "MultiString",
        "%%1883" => "Qword",
        other => other,
    }
    .into()
}

/// The rest of the first line that holds the key.
fn line_of<'t>(text: &'t str, key: &str) -> &'t str {
    match text.split_once(key) {
        Some((_, rest)) => rest.split(['\r', '\n']).next().unwrap_or_default().split("  ").next().unwrap_or_default().trim(),
        None => "",
    }
}

/// Defender's name of a logon type.
fn logon_type(text: &str) -> Cow<'_, str> {
    match text {
        "2" => "Interactive",
        "3" => "Network",
        "4" => "Batch",
        "5" => "Service",
        "7" => "Unlock",
        "8" => "NetworkCleartext",
        "9" => "NewCredentials",
        "10" => "RemoteInteractive",
        "11" => "CachedInteractive",
        "12" => "CachedRemoteInteractive",
        "13" => "CachedUnlock",
        other => other,
    }
    .into()
}

/// Why a logon failed, by its NTSTATUS. Microsoft's page of event 4625 lists them.
fn failure(text: &str) -> Cow<'_, str> {
    match text.to_ascii_lowercase().as_str() {
        "0x0" => "",
        "0xc0000064" | "0xc000006a" | "0xc000006d" => "InvalidUserNameOrPassword",
        "0xc0000234" => "AccountLockedOut",
        "0xc0000072" => "AccountDisabled",
        "0xc0000193" => "AccountExpired",
        "0xc0000071" | "0xc0000224" => "PasswordExpired",
        "0xc000006f" | "0xc0000070" | "0xc000006e" | "0xc0000413" => "AccountRestriction",
        "0xc000015b" => "LogonTypeNotGranted",
        _ => return text.into(),
    }
    .into()
}

pub(crate) fn protocol(text: &str) -> &'static str {
    match text.to_ascii_lowercase().as_str() {
        "6" | "tcp" => "Tcp",
        "17" | "udp" => "Udp",
        "1" | "icmp" => "Icmp",
        _ => "",
    }
}

/// `\device\harddiskvolumeN\…` as a path on the system drive, which is where programs almost always are.
pub(crate) fn device_path(path: &str) -> String {
    let lower = path.to_lowercase();
    match lower.strip_prefix(r"\device\harddiskvolume").and_then(|rest| rest.split_once('\\')) {
        Some((_, rest)) => format!(r"c:\{rest}"),
        None => lower,
    }
}

/// The program of a command line: what is quoted, else up to `.exe`, else the first word.
fn program(command: &str) -> &str {
    let command = command.trim();
    if let Some(rest) = command.strip_prefix('"') {
        return rest.split('"').next().unwrap_or(rest);
    }
    match command.to_ascii_lowercase().find(".exe") {
        Some(at) => &command[..at + 4],
        None => command.split_whitespace().next().unwrap_or(command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_values_and_keys_are_written_as_defender_writes_them() {
        assert_eq!(value_parts("DWORD (0x0000000a)"), ("Dword", "10".into()));
        assert_eq!(value_parts("QWORD (0x00000001-0x00000002)"), ("Qword", "4294967298".into()));
        assert_eq!(value_parts("Binary Data"), ("Binary", "".into()));
        assert_eq!(value_parts(r"C:\a.exe -x"), ("String", r"C:\a.exe -x".into()));
        assert_eq!(hive(r"HKCR\exefile\shell"), r"HKEY_LOCAL_MACHINE\SOFTWARE\Classes\exefile\shell");
        assert_eq!(hive(r"\REGISTRY\USER\S-1-5-18"), r"HKEY_USERS\S-1-5-18");
    }

    #[test]
    fn a_command_line_gives_its_program() {
        for (command, expected) in
            [(r#""C:\Program Files\a b.exe" -k x"#, r"C:\Program Files\a b.exe"), (r"C:\a b\c.EXE /x", r"C:\a b\c.EXE"), (r"\\.\pipe x", r"\\.\pipe"), ("", "")]
        {
            assert_eq!(program(command), expected);
        }
    }
}
