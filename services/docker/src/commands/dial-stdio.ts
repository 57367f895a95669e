import type { Command } from "../command.ts";
import { Connection } from "../engine/connection.ts";
import { writeAll } from "../io/output.ts";

/** What a client elsewhere starts over ssh: our stdin and stdout become a connection to the engine. */
export const dialStdio: Command = {
  name: "docker system dial-stdio",
  usage: "",
  summary: "Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
  arity: { min: 0, max: 0 },
  flags: [],
  async run({ client }) {
    const connection = await Connection.open(client.host);
    const send = async () => {
      for await (const data of Bun.stdin.stream()) await connection.write(data);
      connection.closeWrite();
    };
    void send();
    for (let data = await connection.read(); data; data = await connection.read()) writeAll(1, data);
    return 0;
  },
};
