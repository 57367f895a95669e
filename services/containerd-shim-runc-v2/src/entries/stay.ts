import { run } from "../run.ts";
import { stay } from "../stay.ts";

run(stay);
