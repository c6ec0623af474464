//! Records of AWS CloudTrail, as AWS writes them to a bucket: rows of `AWSCloudTrail`. Vendor pages: AWS, "CloudTrail record contents";
//! Azure Monitor, "AWSCloudTrail".

use super::shapes::{complete, field};
use crate::event::text;
use crate::row::{Field, Row};
use crate::schemas::{ColumnType, TABLES};
use serde_json::{Map, Value};

/// The columns, and where in a record what they hold is.
const COLUMNS: [(&str, &str); 43] = [
    ("AwsEventId", "/eventID"),
    ("EventVersion", "/eventVersion"),
    ("EventSource", "/eventSource"),
    ("EventTypeName", "/eventType"),
    ("EventName", "/eventName"),
    ("UserIdentityType", "/userIdentity/type"),
    ("UserIdentityPrincipalid", "/userIdentity/principalId"),
    ("UserIdentityArn", "/userIdentity/arn"),
    ("UserIdentityAccountId", "/userIdentity/accountId"),
    ("UserIdentityInvokedBy", "/userIdentity/invokedBy"),
    ("UserIdentityAccessKeyId", "/userIdentity/accessKeyId"),
    ("UserIdentityUserName", "/userIdentity/userName"),
    ("SessionMfaAuthenticated", "/userIdentity/sessionContext/attributes/mfaAuthenticated"),
    ("SessionCreationDate", "/userIdentity/sessionContext/attributes/creationDate"),
    ("EC2RoleDelivery", "/userIdentity/sessionContext/ec2RoleDelivery"),
    ("SessionIssuerType", "/userIdentity/sessionContext/sessionIssuer/type"),
    ("SessionIssuerPrincipalId", "/userIdentity/sessionContext/sessionIssuer/principalId"),
    ("SessionIssuerArn", "/userIdentity/sessionContext/sessionIssuer/arn"),
    ("SessionIssuerAccountId", "/userIdentity/sessionContext/sessionIssuer/accountId"),
    ("SessionIssuerUserName", "/userIdentity/sessionContext/sessionIssuer/userName"),
    ("AWSRegion", "/awsRegion"),
    ("SourceIpAddress", "/sourceIPAddress"),
    ("UserAgent", "/userAgent"),
    ("ErrorCode", "/errorCode"),
    ("ErrorMessage", "/errorMessage"),
    ("RequestParameters", "/requestParameters"),
    ("ResponseElements", "/responseElements"),
    ("AdditionalEventData", "/additionalEventData"),
    ("AwsRequestId", "/requestID"),
    ("AwsRequestId_", "/requestID"),
    ("Resources", "/resources"),
    ("APIVersion", "/apiVersion"),
    ("RecipientAccountId", "/recipientAccountId"),
    ("ServiceEventDetails", "/serviceEventDetails"),
    ("SharedEventId", "/sharedEventID"),
    ("VpcEndpointId", "/vpcEndpointId"),
    ("TlsVersion", "/tlsDetails/tlsVersion"),
    ("CipherSuite", "/tlsDetails/cipherSuite"),
    ("ClientProvidedHostHeader", "/tlsDetails/clientProvidedHostHeader"),
    ("TimeGenerated", "/eventTime"),
    ("ReadOnly", "/readOnly"),
    ("ManagementEvent", "/managementEvent"),
    ("Category", "/eventCategory"),
];

/// Whether an object is a record.
pub(super) fn is_record(map: &Map<String, Value>) -> bool {
    ["eventVersion", "eventSource", "eventName", "eventTime", "userIdentity"].into_iter().all(|key| map.contains_key(key))
}

/// The row of a record; what is nested is JSON text, as the connector writes it.
pub(super) fn row(map: Map<String, Value>) -> Option<Row> {
    let table = TABLES.get("AWSCloudTrail")?;
    let record = Value::Object(map);
    let mut row = Row::new(table);
    for (column, place) in COLUMNS {
        let (Some(value), Some(at)) = (record.pointer(place).filter(|value| !value.is_null()), table.position(column)) else { continue };
        let value = match table.columns[at].ty {
            ColumnType::String => Some(Field::Text(text(value).into())),
            ty => field(ty, value.clone()),
        };
        value.into_iter().for_each(|value| row.set_at(at, value));
    }
    complete(&mut row);
    Some(row)
}
