/** Stands for the reader of XML files of meshes, which pull in parts of Node and are not used here. */
export default {};
