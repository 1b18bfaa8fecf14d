//! The classes and methods of the original StackSync, as Java serialization names and orders them.
//!
//! Members of our messages that the original does not have are not in here, and so never reach its clients.

use objectmq::java::{Catalog, Class, Field, Method, Type};

/// What a broker that speaks with clients of the original knows.
pub fn catalog() -> Catalog {
    Catalog::new(CLASSES, METHODS)
}

const B: Type = Type::Boolean;
const FLAG: Type = Type::BoxedBoolean;
const INT: Type = Type::Integer;
const LONG: Type = Type::Long;
const TEXT: Type = Type::Text;
const UUID: Type = Type::Uuid;
const DATE: Type = Type::Date;

const ITEM_METADATA: Type = Type::Object("com.stacksync.commons.models.ItemMetadata");
const COMMIT_INFO: Type = Type::Object("com.stacksync.commons.models.CommitInfo");
const ITEM: Type = Type::Object("com.stacksync.commons.models.Item");
const USER: Type = Type::Object("com.stacksync.commons.models.User");
const WORKSPACE: Type = Type::Object("com.stacksync.commons.models.Workspace");
const DEVICE: Type = Type::Object("com.stacksync.commons.models.Device");
const ACCOUNT_INFO: Type = Type::Object("com.stacksync.commons.models.AccountInfo");

macro_rules! class {
    ($package:literal $name:literal $uid:literal $(also $earlier:literal)?, above $above:expr; $($field:literal $kind:expr),*) => {
        Class {
            name: concat!("com.stacksync.commons.", $package, ".", $name),
            uid: $uid,
            earlier: &[$($earlier)?],
            above: $above,
            fields: &[$(Field { name: $field, kind: $kind }),*],
        }
    };
}

const REQUEST: Option<&str> = Some("com.stacksync.commons.requests.Request");
const NOTIFICATION: Option<&str> = Some("com.stacksync.commons.notifications.Notification");

const CLASSES: &[Class] = &[
    class!("requests" "Request" -8_509_073_150_924_914_903, above None; "requestId" TEXT, "userId" UUID),
    class!("requests" "CommitRequest" 3_150_919_522_585_945_457, above REQUEST;
        "deviceId" UUID, "items" Type::List(&ITEM_METADATA), "workspaceId" UUID),
    class!("requests" "GetAccountRequest" 250_731_596_445_890_199, above REQUEST; "email" TEXT),
    class!("requests" "GetChangesRequest" 813_854_865_352_783_750, above REQUEST; "workspaceId" UUID),
    class!("requests" "GetWorkspacesRequest" -3_220_770_802_300_635_288, above REQUEST;),
    class!("requests" "ShareProposalRequest" -5_985_754_297_818_659_212 also -5_985_754_297_818_659_222, above REQUEST;
        "isEncrypted" B, "emails" Type::List(&TEXT), "itemId" LONG),
    class!("requests" "UpdateDeviceRequest" 3_763_327_030_154_389_990, above REQUEST;
        "appVersion" TEXT, "deviceId" UUID, "deviceName" TEXT, "ip" TEXT, "os" TEXT),
    class!("requests" "UpdateWorkspaceRequest" -1_295_960_595_014_495_726, above REQUEST;
        "parentItemId" LONG, "workspaceId" UUID, "workspaceName" TEXT),
    class!("models" "AccountInfo" 5_231_686_716_350_716_264, above None;
        "email" TEXT, "name" TEXT, "quotaLimit" LONG, "quotaUsed" LONG, "swiftAuthUrl" TEXT, "swiftTenant" TEXT, "swiftUser" TEXT,
        "userId" UUID),
    class!("models" "CommitInfo" -1_205_107_021_066_864_318, above None;
        "commitSucceed" B, "committedVersion" LONG, "metadata" ITEM_METADATA),
    class!("models" "Device" -2_932_481_953_197_148_130, above None;
        "appVersion" TEXT, "createdAt" DATE, "id" UUID, "lastAccessAt" DATE, "lastIp" TEXT, "name" TEXT, "os" TEXT, "user" USER),
    class!("models" "Item" 1_482_457_936_400_001_556, above None;
        "clientParentFileVersion" LONG, "filename" TEXT, "id" LONG, "isFolder" FLAG, "latestVersion" LONG, "mimetype" TEXT,
        "parent" ITEM, "versions" Type::ListOrEmpty(&Type::Any), "workspace" WORKSPACE),
    class!("models" "ItemMetadata" -2_494_445_120_408_291_949, above None;
        "checksum" LONG, "children" Type::List(&ITEM_METADATA), "chunks" Type::List(&TEXT), "deviceId" UUID, "filename" TEXT,
        "id" LONG, "isFolder" FLAG, "isRoot" FLAG, "level" INT, "mimetype" TEXT, "modifiedAt" DATE, "parentId" LONG,
        "parentVersion" LONG, "size" LONG, "status" TEXT, "tempId" LONG, "version" LONG, "workspaceId" UUID),
    class!("models" "User" -8_827_608_629_982_195_900, above None;
        "devices" Type::ListOrEmpty(&DEVICE), "email" TEXT, "id" UUID, "name" TEXT, "quotaLimit" LONG, "quotaUsedLogical" LONG,
        "quotaUsedReal" LONG, "swiftAccount" TEXT, "swiftUser" TEXT, "workspaces" Type::ListOrEmpty(&WORKSPACE)),
    class!("models" "UserWorkspace" 7_732_224_675_365_732_811, above None;
        "isOwner" B, "joinedAt" DATE, "user" USER, "workspace" WORKSPACE),
    class!("models" "Workspace" 243_350_300_638_953_723, above None;
        "isEncrypted" B, "isShared" B, "id" UUID, "items" Type::ListOrEmpty(&ITEM), "latestRevision" INT, "name" TEXT,
        "owner" USER, "parentItem" ITEM, "swiftContainer" TEXT, "swiftUrl" TEXT, "users" Type::ListOrEmpty(&USER)),
    class!("notifications" "Notification" 5_850_418_366_116_658_341, above None; "requestId" TEXT),
    class!("notifications" "CommitNotification" -6_718_869_783_377_947_343, above NOTIFICATION;
        "items" Type::List(&COMMIT_INFO), "limitQuota" LONG, "usedQuota" LONG),
    class!("notifications" "ShareProposalNotification" -3_210_149_693_220_010_223, above NOTIFICATION;
        "isEncrypted" B, "folderName" TEXT, "itemId" LONG, "ownerId" UUID, "ownerName" TEXT, "swiftContainer" TEXT,
        "swiftURL" TEXT, "workspaceId" UUID),
    class!("notifications" "UnshareNotification" 3_857_798_366_116_658_332, above NOTIFICATION;
        "isEncrypted" B, "folderName" TEXT, "itemId" LONG, "ownerId" UUID, "ownerName" TEXT, "swiftContainer" TEXT,
        "swiftURL" TEXT, "workspaceId" UUID),
    class!("notifications" "UpdateWorkspaceNotification" -6_386_191_004_604_910_726, above NOTIFICATION;
        "folderName" TEXT, "parentItemId" LONG, "workspaceId" UUID),
];

macro_rules! method {
    ($name:literal ($param:literal) $result:expr) => {
        Method { name: $name, param: Type::Object(concat!("com.stacksync.commons.", $param)), result: $result }
    };
}

const METHODS: &[Method] = &[
    method!("getChanges" ("requests.GetChangesRequest") Type::List(&ITEM_METADATA)),
    method!("getWorkspaces" ("requests.GetWorkspacesRequest") Type::List(&WORKSPACE)),
    method!("commit" ("requests.CommitRequest") Type::Any),
    method!("updateDevice" ("requests.UpdateDeviceRequest") UUID),
    method!("updateWorkspace" ("requests.UpdateWorkspaceRequest") Type::Any),
    method!("createShareProposal" ("requests.ShareProposalRequest") Type::Any),
    method!("getAccountInfo" ("requests.GetAccountRequest") ACCOUNT_INFO),
    method!("notifyCommit" ("notifications.CommitNotification") Type::Any),
    method!("notifyShareProposal" ("notifications.ShareProposalNotification") Type::Any),
    method!("notifyUnshare" ("notifications.UnshareNotification") Type::Any),
    method!("notifyUpdateWorkspace" ("notifications.UpdateWorkspaceNotification") Type::Any),
];

#[cfg(test)]
#[path = "tests/classes.rs"]
mod tests;
