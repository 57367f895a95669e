import { listenGrpc } from "../listen-grpc.ts";
import { runServer } from "../run-server.ts";
import { serve } from "../serve.ts";

runServer((flags) => serve(flags, { listen: listenGrpc }));
