// Stand-ins for the classes of the original of this package: same names, ids and serialized fields, nothing else.

package omq.common.message;

import java.io.Serializable;

class Request implements Serializable {
    private static final long serialVersionUID = 6366255840200365083L;
    boolean async;
    String id;
    String method;
    Object[] params;
}

class Response implements Serializable {
    private static final long serialVersionUID = 3368363997012527189L;
    omq.exception.OmqException error;
    String id;
    String idOmq;
    Object result;
}
