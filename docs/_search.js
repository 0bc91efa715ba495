"use strict";

/* How the search ranks what it finds: names of commands and headings before the names of functions,
   which otherwise come first for words such as "install" and "gc". Sphinx' own values are in
   searchtools.js. */
var Scorer = {
  objNameMatch: 3,
  objPartialMatch: 1,
  objPrio: {0: 1, 1: 0, 2: -1},
  objPrioDefault: 0,
  title: 30,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
