// A server for resumable uploads. Arguments: port and folder.
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";

const [port, directory] = process.argv.slice(2);
new Server({ path: "/uploads", datastore: new FileStore({ directory }) }).listen({ host: "127.0.0.1", port: Number(port) });
