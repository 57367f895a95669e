import { deleteLost } from "../delete.ts";
import { run } from "../run.ts";

run(deleteLost);
