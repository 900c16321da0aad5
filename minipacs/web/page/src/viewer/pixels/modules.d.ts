/** Codecs that come without types: emscripten modules, all of one form. */
declare module "@cornerstonejs/codec-*wasmjs" {
  const found: (options: { locateFile: () => string; print: () => void; printErr: () => void }) => Promise<unknown>;
  export default found;
}
