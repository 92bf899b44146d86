ARG BASE=scratch
FROM ${BSAE}
