import { runServer } from "../run-server.ts";
import { stay } from "../stay.ts";

runServer(stay);
