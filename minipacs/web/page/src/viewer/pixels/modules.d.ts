/** Codecs that come without types: emscripten modules, all of one form. */
declare module "@cornerstonejs/codec-*wasmjs" {
  const found: (options: { locateFile: () => string }) => Promise<unknown>;
  export default found;
}
