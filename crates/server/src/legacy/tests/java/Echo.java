// Reads every stream of a folder with ObjectInputStream and writes the object again with ObjectOutputStream.

import java.io.*;
import java.nio.file.*;

public class Echo {
    public static void main(String[] arguments) throws Exception {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(Paths.get(arguments[0]))) {
            for (Path file : files) {
                ByteArrayOutputStream result = new ByteArrayOutputStream();
                try (ObjectInputStream in = new ObjectInputStream(new ByteArrayInputStream(Files.readAllBytes(file)))) {
                    Object object = in.readObject();
                    try (ObjectOutputStream out = new ObjectOutputStream(result)) {
                        out.writeObject(object);
                    }
                } catch (Exception error) {
                    error.printStackTrace(new PrintStream(result, true, "UTF-8"));
                }
                Files.write(Paths.get(arguments[1]).resolve(file.getFileName()), result.toByteArray());
            }
        }
    }
}
