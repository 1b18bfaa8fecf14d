// Stand-ins for the classes of the original of this package: same names, ids and serialized fields, nothing else.

package com.stacksync.commons.notifications;

import java.io.Serializable;

class Notification implements Serializable {
    private static final long serialVersionUID = 5850418366116658341L;
    String requestId;
}

class CommitNotification extends Notification implements Serializable {
    private static final long serialVersionUID = -6718869783377947343L;
    java.util.List items;
    Long limitQuota;
    Long usedQuota;
}

class ShareProposalNotification extends Notification implements Serializable {
    private static final long serialVersionUID = -3210149693220010223L;
    boolean isEncrypted;
    String folderName;
    Long itemId;
    java.util.UUID ownerId;
    String ownerName;
    String swiftContainer;
    String swiftURL;
    java.util.UUID workspaceId;
}

class UnshareNotification extends Notification implements Serializable {
    private static final long serialVersionUID = 3857798366116658332L;
    boolean isEncrypted;
    String folderName;
    Long itemId;
    java.util.UUID ownerId;
    String ownerName;
    String swiftContainer;
    String swiftURL;
    java.util.UUID workspaceId;
}

class UpdateWorkspaceNotification extends Notification implements Serializable {
    private static final long serialVersionUID = -6386191004604910726L;
    String folderName;
    Long parentItemId;
    java.util.UUID workspaceId;
}
