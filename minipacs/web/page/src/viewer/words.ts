/** The viewer's part of all text. */
export { strings } from "../strings";
