// Stand-ins for the classes of the original of this package: same names, ids and serialized fields, nothing else.

package com.stacksync.commons.models;

import java.io.Serializable;

class AccountInfo implements Serializable {
    private static final long serialVersionUID = 5231686716350716264L;
    String email;
    String name;
    Long quotaLimit;
    Long quotaUsed;
    String swiftAuthUrl;
    String swiftTenant;
    String swiftUser;
    java.util.UUID userId;
}

class CommitInfo implements Serializable {
    private static final long serialVersionUID = -1205107021066864318L;
    boolean commitSucceed;
    Long committedVersion;
    com.stacksync.commons.models.ItemMetadata metadata;
}

class Device implements Serializable {
    private static final long serialVersionUID = -2932481953197148130L;
    String appVersion;
    java.util.Date createdAt;
    java.util.UUID id;
    java.util.Date lastAccessAt;
    String lastIp;
    String name;
    String os;
    com.stacksync.commons.models.User user;
}

class Item implements Serializable {
    private static final long serialVersionUID = 1482457936400001556L;
    Long clientParentFileVersion;
    String filename;
    Long id;
    Boolean isFolder;
    Long latestVersion;
    String mimetype;
    com.stacksync.commons.models.Item parent;
    java.util.List versions;
    com.stacksync.commons.models.Workspace workspace;
}

class ItemMetadata implements Serializable {
    private static final long serialVersionUID = -2494445120408291949L;
    Long checksum;
    java.util.List children;
    java.util.List chunks;
    java.util.UUID deviceId;
    String filename;
    Long id;
    Boolean isFolder;
    Boolean isRoot;
    Integer level;
    String mimetype;
    java.util.Date modifiedAt;
    Long parentId;
    Long parentVersion;
    Long size;
    String status;
    Long tempId;
    Long version;
    java.util.UUID workspaceId;
}

class User implements Serializable {
    private static final long serialVersionUID = -8827608629982195900L;
    java.util.List devices;
    String email;
    java.util.UUID id;
    String name;
    Long quotaLimit;
    Long quotaUsedLogical;
    Long quotaUsedReal;
    String swiftAccount;
    String swiftUser;
    java.util.List workspaces;
}

class UserWorkspace implements Serializable {
    private static final long serialVersionUID = 7732224675365732811L;
    boolean isOwner;
    java.util.Date joinedAt;
    com.stacksync.commons.models.User user;
    com.stacksync.commons.models.Workspace workspace;
}

class Workspace implements Serializable {
    private static final long serialVersionUID = 243350300638953723L;
    boolean isEncrypted;
    boolean isShared;
    java.util.UUID id;
    java.util.List items;
    Integer latestRevision;
    String name;
    com.stacksync.commons.models.User owner;
    com.stacksync.commons.models.Item parentItem;
    String swiftContainer;
    String swiftUrl;
    java.util.List users;
}

class SharingProposal implements Serializable {
    private static final long serialVersionUID = 1582857936402001556L;
    String callback;
    java.util.Date createdAt;
    Long folder;
    String folderName;
    Integer id;
    Boolean isLocal;
    java.util.UUID key;
    java.util.UUID owner;
    String ownerEmail;
    String ownerName;
    String protocolVersion;
    String recipient;
    String resourceUrl;
    Integer service;
    String status;
    java.util.Date updatedAt;
    Boolean writeAccess;
}
