import { runServer } from "../run-server.ts";
import { serve } from "../serve.ts";

runServer(serve);
