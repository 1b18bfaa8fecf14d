// Stand-ins for the classes of the original of this package: same names, ids and serialized fields, nothing else.

package com.stacksync.commons.requests;

import java.io.Serializable;

class Request implements Serializable {
    private static final long serialVersionUID = -8509073150924914903L;
    String requestId;
    java.util.UUID userId;
}

class CommitRequest extends Request implements Serializable {
    private static final long serialVersionUID = 3150919522585945457L;
    java.util.UUID deviceId;
    java.util.List items;
    java.util.UUID workspaceId;
}

class GetAccountRequest extends Request implements Serializable {
    private static final long serialVersionUID = 250731596445890199L;
    String email;
}

class GetChangesRequest extends Request implements Serializable {
    private static final long serialVersionUID = 813854865352783750L;
    java.util.UUID workspaceId;
}

class GetWorkspacesRequest extends Request implements Serializable {
    private static final long serialVersionUID = -3220770802300635288L;
}

class ShareProposalRequest extends Request implements Serializable {
    private static final long serialVersionUID = -5985754297818659212L;
    boolean isEncrypted;
    java.util.List emails;
    Long itemId;
}

class UpdateDeviceRequest extends Request implements Serializable {
    private static final long serialVersionUID = 3763327030154389990L;
    String appVersion;
    java.util.UUID deviceId;
    String deviceName;
    String ip;
    String os;
}

class UpdateWorkspaceRequest extends Request implements Serializable {
    private static final long serialVersionUID = -1295960595014495726L;
    Long parentItemId;
    java.util.UUID workspaceId;
    String workspaceName;
}
