//! Records of Microsoft 365's unified audit log, as its search exports them (CSV with the record in `AuditData`) and the Management
//! Activity API gives them: rows of `OfficeActivity`. Vendor pages: "Office 365 Management Activity API schema"; Azure Monitor,
//! "OfficeActivity".

use super::shapes::{complete, field};
use crate::event::text;
use crate::row::{Field, Row};
use crate::schemas::{ColumnType, TABLES};
use serde_json::{Map, Value};

/// Properties whose column has another name. The others have their own, in whatever case.
const RENAMED: [(&str, &str); 13] = [
    ("CreationTime", "TimeGenerated"),
    ("Workload", "OfficeWorkload"),
    ("ObjectId", "OfficeObjectId"),
    ("Id", "OfficeId"),
    ("ClientIPAddress", "Client_IPAddress"),
    ("LogonType", "Logon_Type"),
    ("Site", "Site_"),
    ("SiteUrl", "Site_Url"),
    ("EventData", "Event_Data"),
    ("SourceName", "Source_Name"),
    ("StartTime", "Start_Time"),
    ("AzureActiveDirectoryEventType", "AzureActiveDirectory_EventType"),
    ("Target", "AADTarget"),
];

/// What the table has as words: AuditLogRecordType, of the services whose records the connector takes, UserType and LogonType.
const WORDS: [(&str, &[(i64, &str)]); 3] = [
    (
        "RecordType",
        &[
            (1, "ExchangeAdmin"),
            (2, "ExchangeItem"),
            (3, "ExchangeItemGroup"),
            (4, "SharePoint"),
            (6, "SharePointFileOperation"),
            (7, "OneDrive"),
            (8, "AzureActiveDirectory"),
            (9, "AzureActiveDirectoryAccountLogon"),
            (10, "DataCenterSecurityCmdlet"),
            (14, "SharePointSharingOperation"),
            (15, "AzureActiveDirectoryStsLogon"),
            (18, "SecurityComplianceCenterEOPCmdlet"),
            (19, "ExchangeAggregatedOperation"),
            (25, "MicrosoftTeams"),
            (36, "SharePointListOperation"),
            (37, "SharePointCommentOperation"),
            (50, "ExchangeItemAggregated"),
            (54, "SharePointListItemOperation"),
            (55, "SharePointContentTypeOperation"),
            (56, "SharePointFieldOperation"),
        ],
    ),
    (
        "UserType",
        &[(0, "Regular"), (1, "Reserved"), (2, "Admin"), (3, "DcAdmin"), (4, "System"), (5, "Application"), (6, "ServicePrincipal"), (7, "CustomPolicy"), (8, "SystemPolicy")],
    ),
    ("LogonType", &[(0, "Owner"), (1, "Admin"), (2, "Delegated")]),
];

/// Whether an object is a record, or holds one.
pub(super) fn is_record(map: &Map<String, Value>) -> bool {
    map.contains_key("AuditData") || ["CreationTime", "Operation", "RecordType", "Workload", "OrganizationId"].into_iter().all(|key| map.contains_key(key))
}

/// The row of a record.
///
/// # Errors
/// When `AuditData` is no object.
pub(super) fn row(mut map: Map<String, Value>) -> Result<Row, String> {
    if let Some(data) = map.remove("AuditData") {
        let record = match data {
            Value::String(text) => serde_json::from_str(&text).map_err(|error| format!("`AuditData` is not JSON: {error}"))?,
            other => other,
        };
        let Value::Object(record) = record else { return Err("`AuditData` is not an object".to_owned()) };
        map = record;
    }
    let Some(table) = TABLES.get("OfficeActivity") else { return Err("no table takes records of the audit log".to_owned()) };
    let mut row = Row::new(table);
    for (name, value) in map.into_iter().filter(|(_, value)| !value.is_null()) {
        let column = RENAMED.iter().find(|(property, _)| *property == name).map_or(name.as_str(), |(_, column)| column);
        let Some(at) = table.position(column).or_else(|| table.columns.iter().position(|known| known.name.eq_ignore_ascii_case(column))) else { continue };
        let word = WORDS.iter().find(|(property, _)| *property == name).and_then(|(_, words)| Some(words.iter().find(|(number, _)| value.as_i64() == Some(*number))?.1));
        let value = match (word, table.columns[at].ty) {
            (Some(word), _) => Some(Field::Text(word.into())),
            (None, ColumnType::String) => Some(Field::Text(text(&value).into())),
            (None, ty) => field(ty, value),
        };
        value.into_iter().for_each(|value| row.set_at(at, value));
    }
    complete(&mut row);
    Ok(row)
}
