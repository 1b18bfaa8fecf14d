// Stand-ins for the classes of the original of this package: same names, ids and serialized fields, nothing else.

package omq.exception;

import java.io.Serializable;

public class OmqException implements Serializable {
    private static final long serialVersionUID = 1L;
    String message;
    String type;
}
