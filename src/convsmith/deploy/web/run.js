/** The model without a page: what its proof runs before there is one. */
import { openModel } from "./model.js";

globalThis.convsmith = { model: openModel() };
